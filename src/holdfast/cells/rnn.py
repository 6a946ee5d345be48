"""The plain recurrent network: the comparison that shows what the gates bring."""

from __future__ import annotations

from holdfast.cells.cell import Cell
from holdfast.cells.expression import Expression, named, tanh


def rnn(g: Expression) -> dict[str, Expression]:
    """No gates and no cell state: each step overwrites the last one."""
    g = tanh(g)
    return named(g=g, h=g)


RNN = Cell(
    name="rnn",
    function=rnn,
    gates=("g",),
    states=("h",),
    references=("J. L. Elman, Finding structure in time, Cognitive Science 14(2), 1990",),
)
