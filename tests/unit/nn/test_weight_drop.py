"""Dropped recurrent weights: DropConnect on weight_hh, as in AWD-LSTM."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from holdfast.errors import ConfigError
from holdfast.nn.lstm import LSTM


def test_equals_the_layer_with_the_dropped_weights_put_in() -> None:
    layer, plain = LSTM(3, 5, weight_drop=0.4), LSTM(3, 5)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(6, 2, 3)
    torch.manual_seed(7)
    output, _ = layer(x)
    torch.manual_seed(7)
    with torch.no_grad():
        plain.weight_hh_l0.copy_(functional.dropout(layer.weight_hh_l0, 0.4))
    assert (plain.weight_hh_l0 == 0).any()
    torch.testing.assert_close(output, plain(x)[0], rtol=0, atol=0)


def test_evaluation_uses_all_weights() -> None:
    layer, plain = LSTM(3, 5, weight_drop=0.9).eval(), LSTM(3, 5)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(6, 2, 3)
    torch.testing.assert_close(layer(x)[0], plain(x)[0], rtol=0, atol=0)


def test_only_the_kept_weights_get_gradient_and_each_direction_its_own_mask() -> None:
    layer = LSTM(3, 5, bidirectional=True, weight_drop=0.5)
    layer(torch.randn(6, 2, 3))[0].sum().backward()
    forward, reverse = layer.weight_hh_l0.grad == 0, layer.weight_hh_l0_reverse.grad == 0
    assert 0.2 < forward.float().mean() < 0.8
    assert not torch.equal(forward, reverse)


def test_without_it_no_random_number_is_drawn() -> None:
    layer, x = LSTM(3, 5), torch.randn(6, 2, 3)
    before = torch.get_rng_state()
    layer(x)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan")])
def test_a_wrong_probability_is_refused(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"weight_drop is .*; it must be a probability, 0 to 1"):
        LSTM(3, 5, weight_drop=probability)


def test_is_shown_when_it_is_used() -> None:
    assert "weight_drop=0.5" in repr(LSTM(3, 5, weight_drop=0.5))
    assert "weight_drop" not in repr(LSTM(3, 5))
