"""The peephole LSTM whose gates also see all gates of the step before (FGR of Greff et al.)."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, product, sigmoid, tanh


def full_gate_recurrence(
    i: Expression,
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
    i_prev: Expression,
    f_prev: Expression,
    o_prev: Expression,
    p_i: Expression,
    p_f: Expression,
    p_o: Expression,
) -> dict[str, Expression]:
    """Gates with a memory of their own: the old i, f and o enter the new ones through nine matrices."""
    more_i, more_f, more_o = product("weight_gates", i_prev, f_prev, o_prev, blocks=3)
    i, f, g = sigmoid(i + more_i + p_i * c), sigmoid(f + more_f + p_f * c), tanh(g)
    c = f * c + i * g
    o = sigmoid(o + more_o + p_o * c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))


FULL_GATE_RECURRENCE = Cell(
    name="full_gate_recurrence",
    function=full_gate_recurrence,
    gates=("i", "f", "g", "o"),
    states=("h", "c", "i", "f", "o"),
    parameters=(
        Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what i, f and o see of the cell state"),
        Parameter("weight_gates", ("i", "f", "o"), "what i, f and o see of the old i, f, o", columns=3),
    ),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
        "S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997",
    ),
)
