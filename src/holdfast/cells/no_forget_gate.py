"""The peephole LSTM without its forget gate (NFG of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def no_forget_gate(
    i: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_i: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """Nothing is ever forgotten: the forget gate is 1."""
    i, g = sigmoid(i + p_i * c), tanh(g)
    c = c + i * g
    o = sigmoid(o + p_o * c)
    return named(i=i, g=g, o=o, c=c, h=o * tanh(c))


NO_FORGET_GATE = Cell(
    name="no_forget_gate",
    function=no_forget_gate,
    gates=("i", "g", "o"),
    states=("h", "c"),
    parameters=(Parameter("weight_peephole", ("p_i", "p_o"), "what i and o see of the cell state"),),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
