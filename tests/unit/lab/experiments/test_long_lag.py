from __future__ import annotations

import numpy as np
import torch

from holdfast.lab.experiment import Outcome
from holdfast.lab.experiments import long_lag
from holdfast.lab.experiments.long_lag import LONG_LAG, draw
from holdfast.lab.learning import Sequences

E, B, X, Y = range(7, 11)
COUNT = 4000


def some(count: int = COUNT) -> Sequences:
    return draw(np.random.default_rng(0), count, distractors=7, lag=20)


def test_a_sequence_is_b_then_x_or_y_then_distractors_then_e() -> None:
    sequences = some()
    assert (sequences.x[0] == B).all()
    assert torch.isin(sequences.x[1], torch.tensor([X, Y])).all()
    assert (sequences.x[sequences.lengths - 1, torch.arange(COUNT)] == E).all()
    between = torch.arange(len(sequences.x))[2:, None] < sequences.lengths - 1
    assert set(sequences.x[2:][between].tolist()) == set(range(7))


def test_e_comes_after_q_distractors_with_probability_one_tenth_at_each_step() -> None:
    further = some().lengths - 23
    assert int(further.min()) == 0
    assert abs(float((further == 0).float().mean()) - 0.1) < 0.02
    assert abs(float(further.float().mean()) - 9) < 0.5


def test_the_answer_is_the_second_symbol() -> None:
    sequences = some()
    assert torch.equal(sequences.targets.argmax(1), sequences.x[1] - X)
    assert 0.45 < float(sequences.targets[:, 0].mean()) < 0.55


def test_the_lstm_solves_the_short_version_and_the_rnn_does_not() -> None:
    case = LONG_LAG.quick[0]
    outcomes: dict[str, Outcome] = {arm.name: long_lag.run(case, arm, 0) for arm in case.arms}
    assert outcomes["lstm"].solved
    assert outcomes["lstm"].numbers["wrong"] <= 2
    assert not outcomes["rnn"].solved
    assert outcomes["rnn"].numbers["wrong"] > 1000
