"""Keras 3 on TensorFlow: keras.layers.LSTM inside one tf.function, as it stands and compiled by XLA."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from problem import Arrays, Problem, Side, Work


def _tensorflow() -> Any:
    """TensorFlow with as many threads as torch; Keras reads its backend when it is first imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    threads = torch.get_num_threads()
    if tensorflow.config.threading.get_intra_op_parallelism_threads() != threads:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def build(problem: Problem, xla: bool = False) -> Work:
    tensorflow = _tensorflow()
    import keras

    shape, weights = problem.shape, problem.weights
    layer = keras.layers.LSTM(shape.H, return_sequences=True, return_state=problem.state is not None)
    x = tensorflow.constant(np.ascontiguousarray(problem.x.swapaxes(0, 1)))  # [B, T, I], Keras's order
    layer.build(x.shape)
    layer.set_weights([weights["weight_ih_l0"].T, weights["weight_hh_l0"].T, problem.bias])
    if problem.training:
        return _training(problem, tensorflow.function(jit_compile=xla), layer, x)
    state = None if problem.state is None else [tensorflow.constant(part) for part in problem.state]
    run = tensorflow.function(lambda x, state: layer(x, initial_state=state), jit_compile=xla)

    def arrays(result: Any) -> Arrays:
        if problem.state is None:
            return {"output": result.numpy().swapaxes(0, 1)}
        return dict(
            zip(
                ("output", "h", "c"), (result[0].numpy()[:, 0], *(r.numpy() for r in result[1:])), strict=True
            )
        )

    return Work(lambda: run(x, state), arrays)


def _training(problem: Problem, compiled: Any, layer: Any, x: Any) -> Work:
    import tensorflow

    upstream = tensorflow.constant(np.ascontiguousarray(problem.upstream.swapaxes(0, 1)))

    @compiled
    def train(x: Any, upstream: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            tape.watch(x)
            output = layer(x, training=True)
        return output, tape.gradient(output, [x, *layer.trainable_variables], output_gradients=upstream)

    def arrays(result: Any) -> Arrays:
        output, (d_x, d_input, d_recurrent, d_bias) = result
        return {
            "output": output.numpy().swapaxes(0, 1),
            "d_x": d_x.numpy().swapaxes(0, 1),
            "d_weight_ih": d_input.numpy().T,
            "d_weight_hh": d_recurrent.numpy().T,
            "d_bias": d_bias.numpy(),
        }

    return Work(lambda: train(x, upstream), arrays)


SIDE = Side("Keras on TensorFlow", "keras", build, ("keras", "tensorflow"))
XLA = Side("Keras on TensorFlow, XLA", "keras", partial(build, xla=True), ("keras", "tensorflow"))
