"""A single step of one sequence from a given state, as in streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from peers.published import Published
from problem import Shape, make

UNITS = {"tiny": (8,), "quick": (64,), "full": (16, 32, 64, 128)}


def cases(size: str) -> Iterator[Case | Published]:
    for units in UNITS[size]:
        shape = Shape(1, 1, units, units)
        yield Case("step", f"step {shape}", _entries(shape))
    yield Published("step")


def _entries(shape: Shape) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, "step")
        for side in (ours.STEP, ours.CORE_STEP, ours.LAYER_STEP, *peers.STEP):
            yield Entry(side, problem)

    return entries
