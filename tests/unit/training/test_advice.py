"""Advice after training: of a real network that is made to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.nn.lstm import LSTM
from holdfast.training.advice import advice_after
from holdfast.training.history import EpochRow
from holdfast.training.loop import Rows
from holdfast.training.options import TrainingOptions

HISTORY = [EpochRow(1, 0.5, 0.5, 0.8, 1e-3, 1.0, 0.1, 1.0)]


def advised(change: Callable[[Any], None], history: list[EpochRow] = HISTORY) -> list[tuple[str, str]]:
    layer: Any = LSTM(2, 8, forget_bias=4.0)
    with torch.no_grad():
        change(layer)
    x = torch.randn(40, 50, 2)
    network, seen = nn.ModuleList([layer]), []

    def loss(rows: Rows) -> Tensor:
        seen.append(len(rows))
        return layer(x[:, rows])[0][-1].square().mean()  # type: ignore[no-any-return]

    found = advice_after(network, loss, np.arange(50), history, TrainingOptions())
    assert seen == [32]
    return [(one.finding, one.text) for one in found]


def test_a_network_that_is_well() -> None:
    assert advised(lambda layer: None) == []


def test_a_shut_gate() -> None:
    ((finding, text),) = advised(lambda layer: layer.bias_ih_l0[:8].fill_(-9.0))
    assert finding == "saturates"
    assert text.startswith("gate i of layer 1 saturates: 100% of its values are below 0.1")


def test_gradients_that_vanish() -> None:
    ((finding, text),) = advised(lambda layer: layer.bias_ih_l0[8:16].fill_(0.0))
    assert finding == "vanishes"
    assert "in layer 1: 32 and more steps back" in text


def test_a_history_that_went_wrong() -> None:
    history = [EpochRow(1, 0.1, 0.5, 0.8, 1e-3, 500.0, 0.1, 1.0)]
    assert [finding for finding, _ in advised(lambda layer: None, history)] == ["memorises", "explodes"]


@pytest.mark.parametrize("cell", ["rnn", "original"])
def test_cells_without_a_forget_gate(cell: str) -> None:
    layer = LSTM(2, 4, cell=cell)
    x = torch.randn(5, 3, 2)
    found = advice_after(
        layer, lambda rows: layer(x[:, rows])[0].square().mean(), np.arange(3), HISTORY, TrainingOptions()
    )
    assert found == []
