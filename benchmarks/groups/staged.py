"""Training of cells with sums or products within a step: against our plain cell, and the loops in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import STAGED, Shape, make

SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 16, 64, 128),),
    "full": (
        Shape(35, 16, 64, 128),
        Shape(35, 32, 128, 256),
        Shape(100, 16, 64, 128),
        Shape(400, 64, 64, 128),
        Shape(35, 20, 650, 650),
    ),
}
# Where layer norm's loop is compiled too: a minute or more for each, and more steps take longer.
COMPILED = (Shape(35, 16, 64, 128), Shape(35, 32, 128, 256))


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for variant in STAGED:
            yield Case("staged", f"{variant} {shape}", _entries(shape, variant, size))


def _entries(shape: Shape, variant: str, size: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, "training", variant)
        yield Entry(ours.LAYER, problem)
        yield Entry(ours.LAYER, make(shape, "training"))
        yield Entry(peers.LOOP, problem)
        if variant == "projection":
            yield Entry(peers.TORCH, problem)
        if size == "full" and variant == "layer norm" and shape in COMPILED:
            yield Entry(peers.COMPILED_STEPS, problem)
            yield Entry(peers.COMPILED_LOOP, problem)

    return entries
