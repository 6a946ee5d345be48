"""How the time of ours grows with T, with B and with H(I + H): all sizes of one axis take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import ours
from case import Case, Entry
from problem import Shape, make

# B in multiples of any tile of rows that two threads share.
AXES: dict[str, dict[str, tuple[Shape, ...]]] = {
    "tiny": {
        "T": (Shape(2, 2, 4, 8), Shape(4, 2, 4, 8)),
        "B": (Shape(2, 2, 4, 8), Shape(2, 4, 4, 8)),
        "H(I+H)": (Shape(2, 2, 8, 8), Shape(2, 2, 16, 16)),
    },
    "quick": {
        "T": tuple(Shape(T, 48, 128, 128) for T in (50, 100, 200)),
        "B": tuple(Shape(50, B, 128, 128) for B in (48, 96, 192)),
        "H(I+H)": tuple(Shape(50, 48, H, H) for H in (128, 192, 256)),
    },
    "full": {
        "T": tuple(Shape(T, 48, 128, 128) for T in (50, 100, 200, 400, 800)),
        "B": tuple(Shape(50, B, 128, 128) for B in (48, 96, 192, 384, 768)),
        "H(I+H)": tuple(Shape(50, 48, H, H) for H in (128, 192, 256, 384, 512, 768)),
    },
}


def cases(size: str) -> Iterator[Case]:
    for axis, shapes in AXES[size].items():
        for work in ("training", "forward"):
            yield Case("scaling", f"{work}, {axis}", _entries(shapes, work))


def cost(axis: str, shape: Shape) -> int:
    """What the time should be proportional to."""
    return {"T": shape.T, "B": shape.B, "H(I+H)": shape.H * (shape.I + shape.H)}[axis]


def _entries(shapes: tuple[Shape, ...], work: str) -> Callable[[], Iterator[Entry]]:
    return partial(map, lambda shape: Entry(ours.LAYER, make(shape, work)), shapes)
