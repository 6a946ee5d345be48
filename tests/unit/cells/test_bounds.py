"""Between which numbers the values of a cell lie: told from the equations, and true of what they compute."""

from __future__ import annotations

import math

import pytest
import torch
from cells_of_users import USERS

from holdfast.cells import CELLS, Cell, absolute, exp, log, maximum, minimum, relu, sigmoid, sqrt, tanh, where
from holdfast.cells.bounds import bounds
from holdfast.cells.expression import Expression, symbol
from holdfast.nn.lstm import LSTM

ALL = (*CELLS.values(), *USERS)
X, Y = symbol("x"), symbol("y")
S, U = sigmoid(X), tanh(Y)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (S, 0, 1),
        (1 - S, 0, 1),
        (-S, -1, 0),
        (S * U, -1, 1),
        (S + U, -1, 2),
        (S - U, -1, 2),
        (S * X, -math.inf, math.inf),
        (0 * X, 0, 0),
        (relu(X), 0, math.inf),
        (relu(U), 0, 1),
        (absolute(U), 0, 1),
        (absolute(U - 3), 2, 4),
        (exp(U), math.exp(-1), math.exp(1)),
        (exp(X), 0, math.inf),
        (log(1 + S), 0, math.log(2)),
        (log(relu(X)), -math.inf, math.inf),
        (sqrt(4 * S), 0, 2),
        (S / (1 + S), 0, 1),
        (S / U, -math.inf, math.inf),
        (maximum(S, U), 0, 1),
        (minimum(S, U), -1, 1),
        (where(X < 0, S, 3 + U), 0, 4),
        (tanh(S), 0, math.tanh(1)),
    ],
    ids=repr,
)
def test_an_interval_is_that_of_the_operation(value: Expression, low: float, high: float) -> None:
    assert bounds({"v": value})["v"] == pytest.approx((low, high))


def test_gates_are_known_by_their_equations_in_every_cell() -> None:
    for cell in CELLS.values():
        found = bounds(cell.values)
        gates = {name for name, interval in found.items() if interval == (0, 1)}
        assert gates == set(cell.values) & set("ifo"), cell.name
        assert found["h"] in ((-1, 1), (-math.inf, math.inf))
        assert found.get("c", (-math.inf, math.inf)) == (-math.inf, math.inf)


@pytest.mark.parametrize("cell", ALL, ids=[cell.name for cell in ALL])
def test_no_value_leaves_its_interval(cell: Cell) -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 5, cell=cell, dtype=torch.float64).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(4)
        _, _, trace = layer(3 * torch.randn(20, 4, 3, dtype=torch.float64), return_trace=True)
    for name, (low, high) in bounds(cell.values).items():
        assert trace[name].min() >= low, name
        assert trace[name].max() <= high, name
