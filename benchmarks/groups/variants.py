"""Training of each variant: against our plain cell, and against the best loops in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import VARIANTS, Shape, make

from groups.shapes import COMPILED

SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 16, 64, 128),),
    "full": (Shape(100, 16, 64, 128), Shape(100, 32, 128, 256), Shape(400, 64, 64, 128)),
}


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for variant in VARIANTS:
            if variant != "plain":
                yield Case("variants", f"{variant} {shape}", _entries(shape, variant, size))


def _entries(shape: Shape, variant: str, size: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, "training", variant)
        yield Entry(ours.LAYER, problem)
        yield Entry(ours.LAYER, make(shape, "training"))
        yield Entry(peers.LOOP, problem)
        if size == "full" and shape == COMPILED and variant == "peephole":
            yield Entry(peers.COMPILED_LOOP, problem)

    return entries
