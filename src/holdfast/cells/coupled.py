"""The LSTM whose input and forget gates are one."""

from __future__ import annotations

from holdfast.cells.cell import Cell
from holdfast.cells.expression import Expression, named, sigmoid, tanh


def coupled(
    f: Expression,
    g: Expression,
    o: Expression,
    c: Expression,
) -> dict[str, Expression]:
    """What is forgotten makes room for as much of the new: i = 1 - f (Greff et al. write f = 1 - i)."""
    f, g, o = sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + (1 - f) * g
    return named(f=f, g=g, o=o, c=c, h=o * tanh(c))


COUPLED = Cell(
    name="coupled",
    function=coupled,
    gates=("f", "g", "o"),
    states=("h", "c"),
    references=(
        "K. Greff et al., LSTM: a search space odyssey, IEEE Transactions on Neural Networks 28(10), 2017",
        "K. Cho et al., Learning phrase representations using RNN encoder-decoder for SMT, EMNLP 2014",
    ),
)
