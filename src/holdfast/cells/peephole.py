"""The LSTM whose gates see the cell state."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def peephole(
    i: Expression,
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_i: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """The gates also see the cell state: i and f the one before the step, o the new one."""
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
    c = f * c + i * g
    o = sigmoid(o + p_o * c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


PEEPHOLE = Cell(
    name="peephole",
    function=peephole,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    parameters=(
        Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what i, f and o see of the cell state"),
    ),
    references=(
        "F. A. Gers and J. Schmidhuber, Recurrent nets that time and count, IJCNN 2000",
        "F. A. Gers, N. N. Schraudolph and J. Schmidhuber, Learning precise timing, JMLR 3, 2002",
    ),
)
