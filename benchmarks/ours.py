"""Ours: the layer, also with keywords of its own, its numpy entry and its single step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from peers.torch_layer import layer_work
from problem import BFLOAT16_TOLERANCE, Arrays, Problem, Side, Work
from torch import Tensor

import holdfast


def make_layer(problem: Problem, **keywords: Any) -> holdfast.LSTM:
    shape = problem.shape
    given = {"bidirectional": shape.directions == 2, **problem.keywords, **keywords}
    layer = holdfast.LSTM(shape.I, shape.H, shape.layers, **given)
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights.items()})
    return layer.train(problem.random)


def in_layer(problem: Problem, **keywords: Any) -> Work:
    layer = make_layer(problem, **keywords)
    lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)
    chosen = holdfast.explain(layer, torch.from_numpy(problem.x), lengths=lengths)
    work = layer_work(problem, layer, lambda x: layer(x, lengths=lengths)[0])
    return work._replace(detail=chosen.partition(":")[0])


def in_bfloat16(problem: Problem) -> Work:
    """Weights and input in float32, the call under autocast."""
    layer = make_layer(problem)

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)[0]  # type: ignore[no-any-return]

    return layer_work(problem, layer, run, torch.bfloat16)._replace(detail="native, autocast")


def reason_against_core(problem: Problem, bfloat16: bool = False, **keywords: Any) -> str | None:
    """Why the core would not run the layer on such a problem; None where it does."""
    layer = make_layer(problem, **keywords)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        said = holdfast.explain(layer, torch.from_numpy(problem.x))
    (of_core,) = [line for line in said.splitlines() if line.startswith("native: ")]
    return None if of_core.startswith("native: chosen") else f"the core would not run it: {of_core}"


def _without_prepare(problem: Problem) -> str | None:
    if problem.training or problem.shape.directions != 1 or problem.lengths is not None:
        return "it runs forward passes of one direction"
    return None


def in_numpy(problem: Problem) -> Work:
    prepared, out = holdfast.prepare(make_layer(problem)), np.empty_like(problem.upstream)
    return Work(
        lambda: prepared.run(problem.x, out=out, threads=torch.get_num_threads()), lambda _: {"output": out}
    )


def in_steps(problem: Problem) -> Work:
    """One frame from Python: numpy arrays in, numpy arrays out, the state carried along in place."""
    prepared, x = holdfast.prepare(make_layer(problem)), problem.x[0]
    state, out = tuple(part[None].copy() for part in problem.state or ()), np.empty_like(problem.upstream[0])
    return Work(
        lambda: prepared.step(x, state, out), lambda _: {"output": out, "h": state[0][0], "c": state[1][0]}
    )


def in_layer_step(problem: Problem) -> Work:
    layer, x = make_layer(problem), torch.from_numpy(problem.x[0])
    state = tuple(torch.from_numpy(part).unsqueeze(0) for part in problem.state or ())

    @torch.inference_mode()
    def call() -> Any:
        return layer.step(x, state)

    def arrays(result: Any) -> Arrays:
        output, (h, c) = result
        return {"output": output.numpy(), "h": h[0].numpy(), "c": c[0].numpy()}

    return Work(call, arrays)


def in_core(problem: Problem) -> Work:
    """The same step inside the core, counted there: no Python between two steps."""
    prepared, x = holdfast.prepare(make_layer(problem)), problem.x[0]
    return Work(
        lambda: prepared._core.time_steps(x, 1),
        None,
        seconds=lambda count: float(prepared._core.time_steps(x, count)),
    )


LAYER = Side("holdfast.LSTM", "holdfast", in_layer)
RECOMPUTED = Side("holdfast.LSTM, recompute=True", "holdfast", partial(in_layer, recompute=True))
BFLOAT16 = Side(
    "holdfast.LSTM, bfloat16",
    "holdfast",
    in_bfloat16,
    refuses=partial(reason_against_core, bfloat16=True),
    tolerance=BFLOAT16_TOLERANCE,
)
NUMPY = Side("holdfast prepared, numpy", "holdfast", in_numpy, refuses=_without_prepare)
LAYER_STEP = Side("holdfast.LSTM.step", "holdfast", in_layer_step)
STEP = Side("holdfast prepared step, numpy", "holdfast", in_steps, refuses=_without_prepare)
CORE_STEP = Side("holdfast step inside the core", "holdfast", in_core, refuses=_without_prepare)
OURS = {side.name for side in (LAYER, RECOMPUTED, BFLOAT16, NUMPY, LAYER_STEP, STEP, CORE_STEP)}
