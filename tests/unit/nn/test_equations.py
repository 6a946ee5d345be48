"""Which share of its state a step keeps, by the equations of any cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cells_of_users import USERS
from numpy.typing import NDArray

from holdfast.cells import CELLS, Cell, named, sigmoid, tanh
from holdfast.nn.equations import kept_shares, value_bounds
from holdfast.nn.lstm import LSTM

OF_USERS = {cell.name: cell for cell in USERS}


def read(cell: str | Cell, **options: Any) -> tuple[LSTM, dict[str, NDArray[Any]]]:
    torch.manual_seed(1)
    layer = LSTM(3, 4, cell=cell, dtype=torch.float64, **options).eval()
    with torch.no_grad():
        _, _, trace = layer(torch.randn(6, 2, 3, dtype=torch.float64), return_trace=True)
    return layer, {name: value.numpy() for name, value in trace.items()}


def share(cell: str | Cell, state: str = "c", **options: Any) -> Any:
    layer, values = read(cell, **options)
    return kept_shares(layer, values)[state], values


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if "f" in cell.values])
def test_a_forget_gate_is_the_share_that_is_kept(cell: str) -> None:
    kept, values = share(cell)
    np.testing.assert_array_equal(kept, values["f"])


@pytest.mark.parametrize("cell", ["original", "no_forget_gate"])
def test_the_cell_of_1997_keeps_everything(cell: str) -> None:
    kept, values = share(cell)
    np.testing.assert_array_equal(kept, np.ones_like(values["c"]))


def test_a_plain_rnn_overwrites() -> None:
    kept, values = share("rnn", "h")
    np.testing.assert_array_equal(kept, np.zeros_like(values["h"]))


def test_zoneout_at_evaluation_keeps_more() -> None:
    kept, values = share("lstm", zoneout=(0.1, 0.2))
    np.testing.assert_allclose(kept, 0.2 + 0.8 * values["f"], rtol=1e-12)
    of_h, _ = share("lstm", "h", zoneout=(0.1, 0.2))
    np.testing.assert_allclose(of_h, 0.1, rtol=1e-12)


def test_a_users_equations_are_read_as_they_are_written() -> None:
    def squared(f: Any, g: Any, c: Any) -> Any:
        f, g = sigmoid(f), tanh(g)
        held = (1 - f * f) * c  # named, but no gate: what it is made of counts
        c = held + f * g
        return named(f=f, g=g, held=held, c=c, h=tanh(c))

    kept, values = share(Cell("squared", squared, ("f", "g"), ("h", "c")))
    np.testing.assert_allclose(kept, 1 - values["f"] ** 2, rtol=1e-12)
    of_m, values = share(OF_USERS["aliased"], "m")
    np.testing.assert_array_equal(of_m, values["f"])
    of_n, values = share(OF_USERS["aliased"], "n")
    np.testing.assert_array_equal(of_n, np.full_like(values["n"], 0.5))


def test_what_cannot_be_told_is_not_told() -> None:
    assert share(OF_USERS["state_of_a_product"])[0] is None  # units are mixed

    def bent(f: Any, g: Any, c: Any) -> Any:
        f, g = sigmoid(f), tanh(g)
        c = f * tanh(c) + g  # how much is kept depends on c itself
        return named(f=f, g=g, c=c, h=tanh(c))

    assert share(Cell("bent", bent, ("f", "g"), ("h", "c")))[0] is None


def test_the_share_is_the_derivative_with_the_gates_held_fixed() -> None:
    """The new state of a step is share * old + what does not depend on the old one."""
    layer, values = read("coupled")
    kept = kept_shares(layer, values)["c"]
    assert kept is not None
    c, f, g = (values[name][0, 0] for name in "cfg")
    np.testing.assert_allclose(c[1:] - kept[0, 0, 1:] * c[:-1], ((1 - f) * g)[1:], rtol=1e-9, atol=1e-12)


def test_bounds_are_those_of_evaluation() -> None:
    layer, _ = read("lstm", zoneout=0.3)
    assert value_bounds(layer)["i"] == (0, 1)
    assert value_bounds(layer)["c"] == (-np.inf, np.inf)
