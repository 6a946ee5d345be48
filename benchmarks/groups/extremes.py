"""Layers whose weights no cache holds, and one row of 100,000 steps on one thread and on two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import Shape, Side, make
from threads import on_threads

WIDE = {
    "tiny": (Shape(2, 1, 8, 40),),
    "quick": (Shape(5, 32, 512, 2048),),
    "full": tuple(Shape(5, B, 1024, H) for H in (2048, 4096) for B in (1, 32, 64)),
}
LONG = {"tiny": (Shape(300, 1, 4, 8),), "quick": (), "full": (Shape(100_000, 1, 64, 128),)}
SIDES = (ours.LAYER, peers.TORCH)
BY_THREADS = tuple(on_threads(side, threads) for threads in (2, 1) for side in SIDES)


def cases(size: str) -> Iterator[Case]:
    for work in ("training", "forward"):
        for shapes, sides in ((WIDE[size], SIDES), (LONG[size], BY_THREADS)):
            for shape in shapes:
                yield Case("extremes", f"{work} {shape}", _entries(shape, work, sides))


def _entries(shape: Shape, work: str, sides: tuple[Side, ...]) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work)
        return (Entry(side, problem) for side in sides)

    return entries
