"""Ours: the layer, its numpy entry and its single step."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from peers.torch_layer import layer_work
from problem import VARIANTS, Arrays, Problem, Side, Work

import holdfast


@cache
def prepare() -> Any:
    """`holdfast.kernels.prepare`, or None where this version has none."""
    from holdfast import kernels

    return getattr(kernels, "prepare", None)


def make_layer(problem: Problem) -> torch.nn.Module:
    shape = problem.shape
    layer = holdfast.LSTM(shape.I, shape.H, bidirectional=shape.directions == 2, **VARIANTS[problem.variant])
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in problem.weights.items()})
    return layer.train(problem.random)


def in_layer(problem: Problem) -> Work:
    layer = make_layer(problem)
    lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)
    chosen = holdfast.explain(layer, torch.from_numpy(problem.x), lengths=lengths)
    work = layer_work(problem, layer, lambda x: layer(x, lengths=lengths)[0])
    return work._replace(detail=chosen.partition(":")[0])


def _prepared(problem: Problem) -> Any:
    weights = [[{name.removesuffix("_l0"): value for name, value in problem.weights.items()}]]
    return prepare()(make_layer(problem).cell, weights, np.float32)


def _without_prepare(problem: Problem) -> str | None:
    if prepare() is None:
        return "holdfast.kernels.prepare does not exist yet"
    if problem.training or problem.shape.directions != 1 or problem.lengths is not None:
        return "it runs forward passes of one direction"
    return None


def in_numpy(problem: Problem) -> Work:
    prepared, out = _prepared(problem), np.empty_like(problem.upstream)
    return Work(lambda: prepared.run(problem.x, out=out), lambda _: {"output": out})


def in_steps(problem: Problem) -> Work:
    """One frame from Python: numpy arrays in, numpy arrays out, the state carried along by the caller."""
    prepared, x = _prepared(problem), problem.x[0]
    state, out = problem.state, np.empty_like(problem.upstream[0])
    kept = tuple(np.empty_like(part) for part in state or ())

    def call() -> None:
        prepared.step(x, state, out, kept)

    return Work(call, lambda _: {"output": out, "h": kept[0], "c": kept[1]})


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
    prepared, x = _prepared(problem), problem.x[0]
    return Work(
        lambda: prepared.time_steps(x, 1),
        None,
        seconds=lambda count: float(prepared.time_steps(x, count)),
    )


def _without_timer(problem: Problem) -> str | None:
    refused = _without_prepare(problem)
    if refused is None and not hasattr(_prepared(problem), "time_steps"):
        return "Prepared.time_steps does not exist yet"
    return refused


LAYER = Side("holdfast.LSTM", "holdfast", in_layer)
NUMPY = Side("holdfast prepared, numpy", "holdfast", in_numpy, refuses=_without_prepare)
LAYER_STEP = Side("holdfast.LSTM.step", "holdfast", in_layer_step)
STEP = Side("holdfast prepared step, numpy", "holdfast", in_steps, refuses=_without_prepare)
CORE_STEP = Side("holdfast step inside the core", "holdfast", in_core, refuses=_without_timer)
OURS = {side.name for side in (LAYER, NUMPY, LAYER_STEP, STEP, CORE_STEP)}
