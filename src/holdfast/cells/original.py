"""The LSTM of 1997, before it could forget."""

from __future__ import annotations

from holdfast.cells.cell import Cell
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def original(
    i: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
) -> dict[str, Expression]:
    """The cell state only adds up: its own weight is 1 at every step, the constant error carousel."""
    i, g, o = sigmoid(i), tanh(g), sigmoid(o)
    c = c + i * g
    return named(i=i, g=g, o=o, c=c, h=o * tanh(c))


ORIGINAL = Cell(
    name="original",
    function=original,
    gates=("i", "g", "o"),
    states=("h", "c"),
    references=("S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997",),
)
