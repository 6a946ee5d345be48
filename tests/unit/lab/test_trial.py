from __future__ import annotations

import torch

from holdfast.lab.trial import CALM, TRIAL_BATCH, TRIED, TenThousandRight

BOUND = 0.2


class Fresh:
    """Gives errors of fresh sequences: of each batch in turn the largest, then always none."""

    def __init__(self, *largest: float) -> None:
        self.largest = list(largest)
        self.given = 0

    def __call__(self, count: int) -> torch.Tensor:
        self.given += count
        errors = torch.zeros(count)
        errors[count // 2] = self.largest.pop(0) if self.largest else 0.0
        return errors


def test_ten_thousand_are_tried_once_training_is_calm() -> None:
    fresh = Fresh()
    criterion = TenThousandRight(BOUND, fresh)
    criterion.see(torch.full((CALM - 1,), 0.19))
    assert not criterion.met()
    assert fresh.given == 0
    criterion.see(torch.tensor([0.19]))
    assert criterion.met()
    assert fresh.given == TRIED
    assert criterion.met()
    assert fresh.given == TRIED


def test_a_wrong_training_sequence_delays_the_trial() -> None:
    fresh = Fresh()
    criterion = TenThousandRight(BOUND, fresh)
    criterion.see(torch.cat([torch.zeros(CALM - 1), torch.tensor([0.2])]))
    assert not criterion.met()
    assert fresh.given == 0


def test_one_wrong_of_ten_thousand_lets_it_learn_on_until_training_is_calm_again() -> None:
    fresh = Fresh(0.0, 0.19, 0.2)
    criterion = TenThousandRight(BOUND, fresh)
    criterion.see(torch.zeros(CALM))
    assert not criterion.met()
    assert fresh.given == 3 * TRIAL_BATCH
    criterion.see(torch.zeros(CALM - 1))
    assert not criterion.met()
    assert fresh.given == 3 * TRIAL_BATCH
    criterion.see(torch.zeros(1))
    assert criterion.met()
    assert criterion.trials == 2
