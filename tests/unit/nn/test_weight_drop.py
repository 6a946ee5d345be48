"""Dropped recurrent weights: DropConnect on weight_hh, as in AWD-LSTM."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import holdfast
from holdfast.errors import ConfigError, InputError
from holdfast.kernels import Weights
from holdfast.nn.encoder import Encoder
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


def test_explain_draws_no_random_number() -> None:
    layer = LSTM(3, 5, 2, weight_drop=0.5, dropout=0.5)
    before = torch.get_rng_state()
    holdfast.explain(layer, torch.zeros(6, 2, 3), lengths=torch.tensor([6, 4]))
    assert torch.equal(torch.get_rng_state(), before)


def test_calls_with_the_same_weights_share_the_mask() -> None:
    layer, x = LSTM(3, 5, weight_drop=0.5), torch.randn(6, 2, 3)
    weights = layer.drawn_weights()
    first, again, other = layer(x, weights=weights)[0], layer(x, weights=weights)[0], layer(x)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_windows_of_a_sequence_share_the_mask() -> None:
    x, lengths = torch.randn(9, 2, 3, dtype=torch.float64), torch.tensor([9, 7])
    outputs = []
    for window in (3, 99):
        torch.manual_seed(3)
        made = Encoder(3, 4, layers=2, bidirectional=False, weight_drop=0.5, window=window).double()
        torch.manual_seed(5)
        outputs.append(made.train()(x, lengths))
    # float64, the same sums in another blocking
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-14)


def test_the_steps_that_are_given_the_same_weights_share_the_mask() -> None:
    layer, x = LSTM(3, 5, weight_drop=0.5), torch.randn(6, 2, 3)
    weights, state, outputs = layer.drawn_weights(), None, []
    for frame in x:
        output, state = layer.step(frame, state, weights=weights)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), layer(x, weights=weights)[0])


def test_a_wrong_probability_that_is_assigned_later_is_refused() -> None:
    layer = LSTM(3, 5, weight_drop=0.5)
    with pytest.raises(ConfigError, match=r"weight_drop is 5.0; it must be a probability, 0 to 1"):
        layer.weight_drop = 5.0
    layer.weight_drop = 0.25
    assert layer.weight_drop == 0.25


def without(name: str) -> Weights:
    own = LSTM(3, 5).weights()[0][0]
    return [[{key: value for key, value in own.items() if key != name}]]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            LSTM(3, 6).weights(),
            r"weights\[0\]\[0\]\['weight_ih'\] must have the shape \[20, 3\] .* \[24, 3\]",
        ),
        (
            LSTM(3, 5, 2).weights(),
            r"must be 1 lists \(layers\) of 1 dicts .* got a list of 2, in which: \[1, 1\]",
        ),
        (LSTM(3, 5, bidirectional=True).weights(), r"got a list of 1, in which: \[2\]"),
        (LSTM(3, 5, cell="peephole").weights(), "must have the names weight_ih, .* it has .*weight_peephole"),
        (without("bias_hh"), "must have the names .*bias_hh; it has weight_ih, weight_hh, bias_ih$"),
        (3, "as drawn_weights.. gives them; got 3"),
        ({}, "as drawn_weights.. gives them; got {}"),
        ([[3]], r"weights\[0\]\[0\] must be a dict of tensors by name, got 3"),
        (torch.zeros(2, 3), r"got a tensor of shape \[2, 3\] and torch.float32"),
        ([[dict.fromkeys(LSTM(3, 5).weights()[0][0], 1)]], r"\['weight_ih'\] must be a tensor, got 1"),
    ],
)
def test_weights_of_another_layer_are_refused(weights: Any, message: str) -> None:
    layer = LSTM(3, 5, weight_drop=0.5)
    for call in (
        lambda: layer(torch.zeros(6, 2, 3), weights=weights),
        lambda: layer.step(torch.zeros(2, 3), weights=weights),
    ):
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2, "bidirectional": True, "proj_size": 2, "cell": "full_gate_recurrence"},
        {"bias": False, "cell": "peephole", "num_layers": 2},
        {"cell": "layernorm", "learn_initial_state": True},
    ],
)
def test_the_own_weights_of_any_layer_are_taken(options: dict[str, Any]) -> None:
    layer, x = LSTM(3, 5, **options), torch.randn(6, 2, 3)
    assert torch.equal(layer(x, weights=layer.drawn_weights())[0], layer(x)[0])
