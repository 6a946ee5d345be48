"""How a training went."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import InputError
from holdfast.inspection.history import history_of
from holdfast.training.history import EpochRow

ROWS = [
    EpochRow(1, 0.7, 0.6, 0.7, 0.01, 5.0, 0.5, 1.0),
    EpochRow(2, 0.4, 0.5, 0.8, 0.01, 3.0, 0.25, 1.0),
    EpochRow(3, 0.2, 0.9, 0.75, 0.01, 2.0, 0.0, 1.0),
]


def test_the_best_epoch_is_that_of_the_lowest_validation_loss() -> None:
    found = history_of(ROWS)
    assert found.best == 1
    assert found.sentence == (
        "Validation was best in epoch 2 of 3: accuracy 80.0%, loss 0.500 (training loss 0.400, with dropout);"
        " 25% of all gradients were clipped"
    )
    assert json.loads(json.dumps(found.as_dict()))["gradient_norm"] == [5, 3, 2]


def test_the_picture_has_losses_accuracy_and_gradients() -> None:
    losses, accuracy, gradients, shares = history_of(ROWS).figure().axes
    assert [line.get_label() for line in losses.lines[:2]] == ["training", "validation"]
    assert list(losses.lines[1].get_ydata()) == [0.6, 0.5, 0.9]
    assert list(accuracy.lines[0].get_ydata()) == [0.7, 0.8, 0.75]
    assert list(gradients.lines[0].get_ydata()) == [5, 3, 2]
    assert [bar.get_height() for bar in shares.patches] == [0.5, 0.25, 0]


def test_no_epoch() -> None:
    with pytest.raises(InputError, match="no epoch"):
        history_of([])
