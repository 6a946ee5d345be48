"""Training on rows of uneven length: `lengths=` against a PackedSequence in torch.nn.LSTM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ours
import peers
from case import Case, Entry
from problem import Shape, Side, make

SHAPES = {
    "tiny": (Shape(5, 3, 4, 8, 2),),
    "quick": (Shape(100, 32, 128, 128, 2), Shape(100, 32, 128, 256)),
    "full": (Shape(100, 32, 128, 128, 2), Shape(100, 32, 128, 256), Shape(400, 64, 64, 128)),
}
ALL_STEPS = Side("holdfast.LSTM, all steps", "holdfast", ours.in_layer)


def cases(size: str) -> Iterator[Case]:
    """Lengths from 1 to T have the mean T/2; from 0.9 T on, batches grouped by length."""
    for shape in SHAPES[size]:
        for label, shortest in (("1 to T", 0.0), ("0.9 T to T", 0.9)):
            yield Case("lengths", f"lengths {label}, {shape}", _entries(shape, shortest))


def _entries(shape: Shape, shortest: float) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        ragged = make(shape, "training", shortest=shortest)
        yield Entry(ours.LAYER, ragged)
        yield Entry(peers.PACKED, ragged)
        yield Entry(ALL_STEPS, make(shape, "training"))

    return entries
