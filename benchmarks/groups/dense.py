"""The plain layer on dense batches against every peer: forward, and forward with backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import Shape, make

from groups.shapes import COMPILED, DENSE


def forward(size: str) -> Iterator[Case]:
    for shape in DENSE[size]:
        yield Case("forward", f"forward {shape}", _entries(shape, "forward", size))


def training(size: str) -> Iterator[Case]:
    for shape in DENSE[size]:
        yield Case("training", f"training {shape}", _entries(shape, "training", size))


def _entries(shape: Shape, work: str, size: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work)
        for side in (ours.LAYER, *((ours.NUMPY,) if work == "forward" else ()), *peers.DENSE):
            if side is not peers.COMPILED_LOOP or (size == "full" and shape == COMPILED):
                yield Entry(side, problem)

    return entries
