"""The peephole LSTM without its input gate (NIG of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def no_input_gate(
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """Every candidate is stored in full: the input gate is 1."""
    f, g = sigmoid(f + p_f * c), tanh(g)
    c = f * c + g
    o = sigmoid(o + p_o * c)
    return named(f=f, g=g, o=o, c=c, h=o * tanh(c))


NO_INPUT_GATE = Cell(
    name="no_input_gate",
    function=no_input_gate,
    gates=("f", "g", "o"),
    states=("h", "c"),
    parameters=(Parameter("weight_peephole", ("p_f", "p_o"), "what f and o see of the cell state"),),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
