"""Products in bfloat16, under autocast, against our float32; torch.nn.LSTM does the same beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import Shape, make

SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 32, 128, 256),),
    "full": (
        Shape(100, 32, 128, 256),
        Shape(200, 128, 256, 256),
        Shape(100, 64, 256, 512),
        Shape(50, 64, 640, 640),
        Shape(35, 32, 1024, 1024),
    ),
}


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for work in ("training", "forward"):
            yield Case("bfloat16", f"{work} {shape}", _entries(shape, work))


def _entries(shape: Shape, work: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work)
        for side in (ours.LAYER, ours.BFLOAT16, peers.TORCH, peers.BFLOAT16):
            yield Entry(side, problem)

    return entries
