"""The peephole LSTM whose input and forget gates are one (CIFG of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def coupled_peephole(
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """The peephole LSTM with the input gate 1 - f."""
    f, g = sigmoid(f + p_f * c), tanh(g)
    c = f * c + (1 - f) * g
    o = sigmoid(o + p_o * c)
    return named(f=f, g=g, o=o, c=c, h=o * tanh(c))


COUPLED_PEEPHOLE = Cell(
    name="coupled_peephole",
    function=coupled_peephole,
    gates=("f", "g", "o"),
    states=("h", "c"),
    parameters=(Parameter("weight_peephole", ("p_f", "p_o"), "what f and o see of the cell state"),),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
