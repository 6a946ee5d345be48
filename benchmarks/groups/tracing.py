"""What it costs to see inside: calls that return their trace, and its gradients, against the same without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ours
import torch
from case import Case, Entry
from peers.torch_layer import layer_work
from problem import Problem, Shape, Side, Work, make

import holdfast
from groups.own_cell import OWN_CELL, own_cell

VARIANTS = ("plain", "peephole", "layer norm")
SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 16, 64, 128),),
    "full": (
        Shape(100, 1, 64, 64),
        Shape(100, 16, 64, 128),
        Shape(100, 32, 128, 256),
        Shape(400, 64, 64, 128),
        Shape(100, 32, 128, 128, directions=2, layers=2),
    ),
}


def in_traced(problem: Problem, kind: Any, own: bool = False) -> Work:
    """The same layer and the same numbers; every named value of every step is returned too."""
    layer = ours.make_layer(problem, **({"cell": own_cell()} if own else {}))
    chosen = holdfast.explain(layer, torch.from_numpy(problem.x), return_trace=kind)
    work = layer_work(problem, layer, lambda x: layer(x, return_trace=kind)[0])
    return work._replace(detail=chosen.partition(":")[0])


def _refuses(problem: Problem, kind: Any, own: bool = False) -> str | None:
    if kind == "gradients" and not problem.training:
        return "there are no gradients without a backward pass"
    return OWN_CELL.refuses(problem) if own else None


def _side(kind: Any, own: bool = False) -> Side:
    name = (OWN_CELL if own else ours.LAYER).name + f", return_trace={kind!r}"
    return Side(
        name,
        "holdfast",
        partial(in_traced, kind=kind, own=own),
        refuses=partial(_refuses, kind=kind, own=own),
    )


KINDS = (True, "gradients")
SIDES = (ours.LAYER, *(_side(kind) for kind in KINDS))
OWN_SIDES = (OWN_CELL, *(_side(kind, own=True) for kind in KINDS))


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for work in ("training", "forward"):
            for variant in VARIANTS:
                if variant == "plain" or shape.layers == 1:
                    yield Case("tracing", f"{work}, {variant} {shape}", _entries(shape, work, variant, SIDES))
            if shape.layers == 1:
                entries = _entries(shape, work, "peephole", OWN_SIDES)
                yield Case("tracing", f"{work}, a user's cell {shape}", entries)


def _entries(shape: Shape, work: str, variant: str, sides: tuple[Side, ...]) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work, variant)
        return (Entry(side, problem) for side in sides)

    return entries
