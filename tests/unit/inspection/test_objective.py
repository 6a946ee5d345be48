"""The number that is looked at, and the output that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from readers import reader, row
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.inspection.objective import answer, cross_entropy, log_odds, score

SCORES = torch.tensor([[0.3, -1.0, 2.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
ONE = SCORES[:, :1]


@pytest.mark.parametrize("output", [0, 1, 2])
def test_log_odds_are_those_of_the_softmax(output: int) -> None:
    share = SCORES.softmax(1)[:, output]
    torch.testing.assert_close(log_odds(output)(SCORES), (share / (1 - share)).log())


def test_log_odds_of_two_are_their_difference() -> None:
    torch.testing.assert_close(log_odds(1)(SCORES[:, :2]), SCORES[:, 1] - SCORES[:, 0])


def test_the_loss_is_cross_entropy() -> None:
    expected = functional.cross_entropy(SCORES, torch.tensor([2, 2]), reduction="none")
    torch.testing.assert_close(cross_entropy(2)(SCORES), expected)


@pytest.mark.parametrize("objective", [log_odds(0), score(0), cross_entropy(0)])
def test_a_single_output_is_its_score(objective: Any) -> None:
    assert objective(ONE).tolist() == ONE[:, 0].tolist()


def test_the_output_that_is_asked_for() -> None:
    subject = reader(3)
    assert answer(subject, row(), "c") == 2
    assert answer(subject, row(), 1) == 1
    assert answer(subject, row()) == int(subject.scores([row()])[0].argmax())


@pytest.mark.parametrize("asked", ["d", 3, -1, True, 1.5])
def test_an_output_that_is_not_there(asked: Any) -> None:
    with pytest.raises(InputError, match=r"there is no output .*; give one of a, b, c, or an index up to 2"):
        answer(reader(3), row(), asked)
