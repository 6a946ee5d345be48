"""The moving average of the weights, against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from holdfast.training.averaging import EARLY_HORIZON, WeightAverage


def network_at(value: float) -> nn.Linear:
    network = nn.Linear(2, 1).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    return network


def averaged(values: list[float], horizon: float, start: float = 7.0) -> float:
    average = WeightAverage(network_at(start), horizon)
    for value in values:
        average.update(network_at(value))
    assert average.steps == len(values)
    (result,) = {float(entry) for tensor in average.values.values() for entry in tensor.flatten()}
    return result


@pytest.mark.parametrize("horizon", [0.05, 0.3, 2.0, 1000.0])
def test_the_average_is_the_weighted_sum_of_the_past(horizon: float) -> None:
    values = [1.0, -2.0, 4.0, 0.5, 3.0]
    decays = [math.exp(-1 / min(horizon, (k + 1) / EARLY_HORIZON)) for k in range(5)]
    expected = 7.0 * math.prod(decays)
    expected += sum((1 - decays[k]) * values[k] * math.prod(decays[k + 1 :]) for k in range(5))
    assert averaged(values, horizon) == pytest.approx(expected, rel=1e-12)


def test_a_steady_horizon_decays_as_it_says() -> None:
    average = WeightAverage(network_at(1.0), 3.0)
    average.steps = 1000
    for _ in range(6):
        average.update(network_at(0.0))
    assert float(average.values["bias"]) == pytest.approx(math.exp(-2), rel=1e-12)


def test_horizon_zero_is_the_last_value() -> None:
    assert averaged([1.0, -2.0, 4.0], 0.0) == 4.0


def test_the_random_start_is_forgotten_at_once() -> None:
    # After one step the start weighs e^-10, whatever the horizon.
    left = math.exp(-10)
    assert averaged([1.0], 1000.0, start=1e4) == pytest.approx(1e4 * left + (1 - left), rel=1e-12)
    assert averaged([1.0] * 30, 1000.0, start=1e4) == pytest.approx(1.0, abs=1e-6)


def test_within_the_block_the_network_holds_the_average() -> None:
    network = network_at(1.0)
    average = WeightAverage(network_at(5.0), 1.0)
    with average.swapped_into(network):
        assert (network.weight == 5).all()
        assert (network.bias == 5).all()
    assert (network.weight == 1).all()
    assert (average.values["weight"] == 5).all()


def test_an_exception_in_the_block_restores_the_network() -> None:
    network, average = network_at(1.0), WeightAverage(network_at(5.0), 1.0)
    with pytest.raises(ZeroDivisionError), average.swapped_into(network):
        _ = 1 / 0
    assert (network.weight == 1).all()
    assert (network.bias == 1).all()


def test_the_average_is_no_view_of_the_network() -> None:
    network = network_at(1.0)
    average = WeightAverage(network, 0.0)
    average.update(network)
    with torch.no_grad():
        network.weight.fill_(9.0)
    assert (average.values["weight"] == 1).all()
    assert not any(value.requires_grad for value in average.values.values())
