"""JAX: jax.lax.scan over the steps, the input product before it, compiled."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from problem import Arrays, Problem, Side, Work


def build(problem: Problem) -> Work:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    from jax import numpy as jnp

    def lstm(weights: Any, x: Any, state: Any) -> Any:
        weight_ih, weight_hh, bias = weights

        def step(carried: Any, z: Any) -> Any:
            h, c = carried
            i, f, g, o = jnp.split(z + h @ weight_hh.T, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(step, state, x @ weight_ih.T + bias)

    def train(weights: Any, x: Any, upstream: Any) -> Any:
        zeros = jnp.zeros((problem.shape.B, problem.shape.H), jnp.float32)
        output, pull = jax.vjp(lambda weights, x: lstm(weights, x, (zeros, zeros))[1], weights, x)
        return output, pull(upstream)

    own = (problem.weights["weight_ih_l0"], problem.weights["weight_hh_l0"], problem.bias)
    weights, x, upstream = jax.device_put((own, problem.x, problem.upstream))
    if problem.training:
        trained = jax.jit(train)
        return Work(lambda: jax.block_until_ready(trained(weights, x, upstream)), _gradients)
    zeros = np.zeros((problem.shape.B, problem.shape.H), np.float32)
    state = jax.device_put(problem.state or (zeros, zeros))
    run = jax.jit(lstm)

    def arrays(result: Any) -> Arrays:
        (h, c), output = result
        if problem.state is None:
            return {"output": np.asarray(output)}
        return {"output": np.asarray(output[0]), "h": np.asarray(h), "c": np.asarray(c)}

    return Work(lambda: jax.block_until_ready(run(weights, x, state)), arrays)


def _gradients(result: Any) -> Arrays:
    output, ((d_input, d_recurrent, d_bias), d_x) = result
    values = {
        "output": output,
        "d_x": d_x,
        "d_weight_ih": d_input,
        "d_weight_hh": d_recurrent,
        "d_bias": d_bias,
    }
    return {name: np.asarray(value) for name, value in values.items()}


SIDE = Side("JAX scan", "jax", build, ("jax",))
