from __future__ import annotations

import pytest
import torch

from holdfast.lab.experiments import initialisation
from holdfast.lab.experiments.initialisation import INITIALISATION, start
from holdfast.nn.lstm import LSTM

UNITS = 6


@pytest.mark.parametrize(
    ("arm", "bias"), [("forget bias 0", 0.0), ("forget bias 1", 1.0), ("forget bias 5", 5.0)]
)
def test_an_arm_starts_with_its_forget_bias(arm: str, bias: float) -> None:
    layer = LSTM(2, UNITS, **start(arm, 100))
    forget = (layer.bias_ih_l0 + layer.bias_hh_l0)[UNITS : 2 * UNITS]
    assert torch.equal(forget, torch.full((UNITS,), bias))


def test_chrono_spreads_the_memory_over_the_lag() -> None:
    layer = LSTM(2, 1000, **start("chrono", 100))
    lags = (layer.bias_ih_l0 + layer.bias_hh_l0)[1000:2000].detach().exp()
    assert lags.min() >= 1
    assert 95 < lags.max() <= 99
    assert float(lags.mean()) == pytest.approx(50, abs=3)


def test_the_other_arms_differ_in_nothing_else() -> None:
    layers = []
    for arm in ("forget bias 0", "forget bias 5"):
        torch.manual_seed(3)
        layers.append(LSTM(2, UNITS, **start(arm, 100)))
    zero, five = (dict(layer.named_parameters()) for layer in layers)
    assert torch.equal(zero["weight_hh_l0"], five["weight_hh_l0"])
    assert torch.equal(zero["weight_ih_l0"], five["weight_ih_l0"])


def test_the_rnn_is_there_too() -> None:
    assert start("rnn", 100) == {"cell": "rnn"}
    assert initialisation.copying_layer("rnn", 100).cell.name == "rnn"
    assert sum("rnn" in [arm.name for arm in case.arms] for case in INITIALISATION.cases) >= 2


@pytest.mark.parametrize(("arm", "bias"), [("forget bias 0", 0.0), ("forget bias 5", 5.0)])
def test_who_copies_starts_with_the_forget_bias_of_its_arm(arm: str, bias: float) -> None:
    layer = initialisation.copying_layer(arm, 100)
    biases = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)
    assert torch.equal(biases[0], torch.zeros(layer.hidden_size))
    assert torch.equal(biases[1], torch.full((layer.hidden_size,), bias))


def test_chrono_closes_the_input_gate_of_who_copies_as_it_opens_the_forget_gate() -> None:
    layer = initialisation.copying_layer("chrono", 100)
    i, f, g, o = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)
    assert torch.equal(i, -f)
    assert 100 < float(f.exp().max()) <= 149
    assert not g.any()
    assert not o.any()


def test_the_start_decides_who_solves_the_quick_version() -> None:
    (case,) = INITIALISATION.quick
    chrono, zero = (initialisation.run(case, case.arm(name), 0) for name in ("chrono", "forget bias 0"))
    assert chrono.solved
    assert not zero.solved
    assert zero.sequences > chrono.sequences
