"""Long sequences with `recompute=True`: training time, what autograd saves, and what the system gives.

What autograd saves is counted once for each piece of memory, without the input and the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ours
import torch
from case import Case, Entry, Measured
from problem import Problem, Shape, Side, make
from records import row
from timing import Times
from torch import Tensor

import holdfast
from groups.memory import Memory

SIDES = (ours.LAYER, ours.RECOMPUTED)
KEYWORDS = {ours.LAYER.name: None, ours.RECOMPUTED.name: True}
SHAPES = {
    "tiny": (Shape(100, 2, 4, 8, 2, 2),),
    "quick": (Shape(10_000, 1, 64, 128),),
    "full": (
        Shape(10_000, 1, 64, 128),
        Shape(10_000, 16, 64, 128),
        Shape(10_000, 4, 64, 128, layers=2),
        Shape(10_000, 1, 64, 128, directions=2, layers=3),
    ),
}
LONG = {"full": (Shape(100_000, 1, 64, 128, directions=2, layers=3),)}
TIME, SAVED, PEAK, LONG_PEAK = "training time", "saved for backward", "peak memory", "peak of the process"


def cases(size: str) -> Iterator[Case | Saved | Memory]:
    for shape in SHAPES[size]:
        yield Case("recompute", f"{TIME}, {shape}", _entries(shape))
        yield Saved("recompute", f"{SAVED}, {shape}", shape)
        if size != "tiny":
            yield Memory("recompute", f"{PEAK}, {shape}", shape, SIDES, runs=3, calls=1)
    for shape in LONG.get(size, ()):
        yield Memory("recompute", f"{LONG_PEAK}, {shape}", shape, SIDES, runs=1, calls=1, whole=True)


def _entries(shape: Shape) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, "training")
        return (Entry(side, problem) for side in SIDES)

    return entries


@dataclass(frozen=True)
class Saved:
    """A case whose value is the megabytes that autograd saves."""

    group: str
    name: str
    shape: Shape

    def measure(self, seconds: float) -> Measured:
        problem = make(self.shape, "training")
        rows = []
        for side in SIDES:
            value = saved(problem, side) / 1e6
            ratio = value / (float(rows[0]["value"]) if rows else value)
            times = Times(value, value, value, 1)
            rows.append(row(self.group, self.name, side, problem, times, "MB", ratio=ratio))
        return Measured(rows, [])


def saved(problem: Problem, side: Side) -> int:
    """The bytes that autograd saves of a forward pass."""
    layer: holdfast.LSTM = ours.make_layer(problem, recompute=KEYWORDS[side.name])
    x = torch.from_numpy(problem.x).requires_grad_()
    given = {tensor.untyped_storage().data_ptr() for tensor in (x, *layer.parameters())}
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no memory is given twice

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in given:
            sizes[memory.data_ptr()] = memory.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = layer(x)[0]
    assert output.requires_grad
    return sum(sizes.values())
