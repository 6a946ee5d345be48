"""The peephole LSTM without its output gate (NOG of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def no_output_gate(
    i: Expression,
    f: Expression,
    g: Expression,
    c: Expression,
    p_i: Expression,
    p_f: Expression,
) -> dict[str, Expression]:
    """The cell state is always shown: the output gate is 1."""
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
    c = f * c + i * g
    return named(i=i, f=f, g=g, c=c, h=tanh(c))


NO_OUTPUT_GATE = Cell(
    name="no_output_gate",
    function=no_output_gate,
    gates=("i", "f", "g"),
    states=("h", "c"),
    parameters=(Parameter("weight_peephole", ("p_i", "p_f"), "what i and f see of the cell state"),),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
    ),
)
