"""The peephole LSTM whose cell state is not squashed on its way out (NOAF of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def no_output_activation(
    i: Expression,
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    p_i: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """The output gate shows the cell state as it is: h(x) = x."""
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
    c = f * c + i * g
    o = sigmoid(o + p_o * c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * c)


NO_OUTPUT_ACTIVATION = Cell(
    name="no_output_activation",
    function=no_output_activation,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    parameters=(
        Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what i, f and o see of the cell state"),
    ),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
