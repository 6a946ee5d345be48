"""Pictures: what is drawn is what was measured, and nothing is cut off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from holdfast.errors import InputError
from holdfast.inspection.plots import gates_figure, loss_figure, loss_picture, report_picture
from holdfast.training.history import EpochRow

HISTORY = [
    EpochRow(epoch, 1.0 / epoch, 0.5 + abs(epoch - 2) / 10, 0.7, 1e-3, 3.0, 0.25, 1.0) for epoch in (1, 2, 3)
]


def trace(steps: int, directions: int = 2, names: str = "ifgoch") -> Any:
    random = np.random.default_rng(0)
    values = {name: random.uniform(0, 1, (1, directions, steps, 12)).astype(np.float32) for name in names}
    tokens = [f"word{index}" for index in range(steps)]
    return SimpleNamespace(
        tokens=tokens, values=values, probabilities=np.array([0.25, 0.75]), classes=("bad", "good")
    )


def test_loss_curves_are_the_history() -> None:
    left, right = loss_figure(HISTORY).axes
    drawn = {line.get_label(): list(line.get_ydata()) for axes in (left, right) for line in axes.get_lines()}
    assert drawn["training"] == [row.train_loss for row in HISTORY]
    assert drawn["validation"] == [row.valid_loss for row in HISTORY]
    assert drawn["validation accuracy"] == [row.valid_accuracy for row in HISTORY]
    assert "best epoch: 2" in drawn


def test_pictures_are_png() -> None:
    for picture in (loss_picture(HISTORY), report_picture(HISTORY, trace(7))):
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")


def test_the_same_pictures_have_the_same_bytes() -> None:
    assert loss_picture(HISTORY) == loss_picture(HISTORY)


def test_gates_are_the_values_of_the_chosen_units() -> None:
    one = trace(6, directions=1)
    figure = gates_figure(one)
    images = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    assert len(images) == 6
    units = {name: value[0, 0].T.tolist() for name, value in one.values.items()}
    for image in images:
        rows = np.asarray(image).tolist()
        assert len(rows) == 8
        assert any(all(row in of_name for row in rows) for of_name in units.values())


@pytest.mark.parametrize("steps", [1, 3, 40, 41, 200])
@pytest.mark.parametrize(("directions", "names"), [(1, "ifgoch"), (2, "ifgoch"), (1, "h")])
def test_any_sentence_of_any_cell_can_be_drawn(steps: int, directions: int, names: str) -> None:
    figure = gates_figure(trace(steps, directions, names))
    words = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    assert "word0" in words
    assert ("word40" in words) is False


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(InputError, match="no epoch to draw"):
        loss_picture([])
    with pytest.raises(InputError):
        gates_figure(trace(0))
