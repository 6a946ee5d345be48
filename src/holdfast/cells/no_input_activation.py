"""The peephole LSTM whose candidate is not squashed (NIAF of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def no_input_activation(
    i: Expression,
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_i: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """The candidate enters as it is: g(x) = x."""
    i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
    c = f * c + i * g
    o = sigmoid(o + p_o * c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


NO_INPUT_ACTIVATION = Cell(
    name="no_input_activation",
    function=no_input_activation,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    parameters=(
        Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what i, f and o see of the cell state"),
    ),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
