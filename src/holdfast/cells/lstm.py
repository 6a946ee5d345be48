"""The LSTM with forget gate: what everybody means by LSTM."""

from __future__ import annotations

from holdfast.cells.cell import Cell
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def lstm(i: Expression, f: Expression, g: Expression, o: Expression, c: Expression) -> dict[str, Expression]:
    """The gates see the input and the last output; the forget gate decides what the cell state keeps."""
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


LSTM = Cell(
    name="lstm",
    function=lstm,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    references=(
        "S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997",
        "F. A. Gers, J. Schmidhuber and F. Cummins, Learning to forget, Neural Computation 12(10), 2000",
    ),
)
