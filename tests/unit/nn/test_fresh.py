"""A layer like another with first values of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from holdfast.cells import CELLS
from holdfast.errors import ConfigError
from holdfast.nn.fresh import fresh
from holdfast.nn.lstm import LSTM

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"num_layers": 2, "bidirectional": True, "proj_size": 3, "batch_first": True, "bias": False},
    {"init": "chrono", "max_lag": 20, "zoneout": (0.1, 0.2), "cell_clip": 3.0},
    {"forget_bias": 1.0, "recurrent_dropout": {"g": 0.1, "h": 0.2}, "residual": True, "weight_drop": 0.1},
    {"learn_initial_state": True, "sparse_input": True, "recompute": 3, "dtype": torch.float64},
)


@pytest.mark.parametrize("options", KINDS)
def test_the_same_cell_gives_the_same_layer_with_the_values_of_the_seed(options: dict[str, Any]) -> None:
    layer = LSTM(4, 5, **options).eval()
    torch.manual_seed(3)
    expected = LSTM(4, 5, **options)
    torch.manual_seed(3)
    made = fresh(layer)
    assert repr(made) == repr(layer)
    assert not made.training
    for (name, value), wanted in zip(made.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(value, wanted), name
        assert value.dtype == layer.weight_ih_l0.dtype


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_another_cell_takes_what_it_can(cell: str, options: dict[str, Any]) -> None:
    layer = LSTM(4, 5, **options)
    made = fresh(layer, cell)
    assert made.cell.name == cell
    x = torch.zeros(3, 3, 4, dtype=layer.weight_ih_l0.dtype)
    assert made(x)[0].shape == layer(x)[0].shape


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(ConfigError, match="cell is 'lstn'"):
        fresh(LSTM(4, 5), "lstn")
