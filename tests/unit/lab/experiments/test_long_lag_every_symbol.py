from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.experiment import Arm, Case
from holdfast.lab.experiments import long_lag
from holdfast.lab.experiments.long_lag_every_symbol import LAST_WEIGHS, Predictor, draw, errors, loss, wanted

P = 6
X, Y = P - 1, P


def some(*, regular: bool) -> torch.Tensor:
    return draw(np.random.default_rng(0), 400, symbols=P, regular=regular)


@pytest.mark.parametrize("regular", [True, False])
def test_the_last_symbol_is_the_first_one_again(regular: bool) -> None:
    sequences = some(regular=regular)
    assert sequences.shape == (P + 1, 400)
    assert torch.equal(sequences[0], sequences[-1])
    assert 0.4 < float((sequences[0] == X).float().mean()) < 0.6
    assert set(sequences[0].tolist()) == {X, Y}
    assert int(sequences[1:-1].max()) == P - 2


def test_those_between_come_in_their_order_or_at_random() -> None:
    in_order = torch.arange(P - 1)[:, None].expand(-1, 400)
    assert torch.equal(some(regular=True)[1:-1], in_order)
    at_random = some(regular=False)[1:-1]
    for step in at_random:
        assert set(step.tolist()) == set(range(P - 1))


def test_what_is_wanted_is_the_next_symbol() -> None:
    sequences = some(regular=False)
    assert torch.equal(wanted(sequences, P).argmax(2), sequences[1:])


def test_every_step_is_judged_where_all_can_be_known_and_only_the_last_where_not() -> None:
    targets = wanted(some(regular=True)[:, :3], P)
    outputs = targets.clone()
    outputs[2, 1, 4] -= 0.5
    outputs[-1, 2, 0] += 0.25
    assert errors(outputs, targets, regular=True).tolist() == [0, 0.5, 0.25]
    assert errors(outputs, targets, regular=False).tolist() == [0, 0, 0.25]


def test_the_last_step_counts_a_hundred_times() -> None:
    targets = torch.zeros(10, 2, 4)
    early, late = targets.clone(), targets.clone()
    early[0, 0, 0] = late[-1, 0, 0] = 1
    assert float(loss(early, targets)) == pytest.approx(1 / 20)
    assert float(loss(late, targets)) == pytest.approx(1 / 20 + LAST_WEIGHS / 2)


def test_an_output_sees_its_input_without_the_memory() -> None:
    network = Predictor("rnn", P)
    torch.nn.init.zeros_(network.head.weight)
    outputs = network(some(regular=False)[:-1])
    direct = torch.sigmoid(network.direct.weight)[some(regular=False)[:-1]]
    assert torch.equal(outputs, direct)


@pytest.mark.parametrize("regular", [True, False])
def test_the_lstm_solves_a_short_version(regular: bool) -> None:
    case = Case("", "", (), {"symbols": 20, "regular": regular})
    outcome = long_lag.run(case, Arm("lstm", "", 12_000), 0)
    assert outcome.solved
    assert outcome.sequences < 12_000
    assert outcome.numbers["wrong"] <= 2
    assert not long_lag.run(case, Arm("lstm", "", 320), 0).solved
