"""Which step moved the state of a layer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from holdfast.errors import InputError
from holdfast.inspection.strands import Strand
from holdfast.inspection.subject import Reading, Subject
from holdfast.inspection.traced import strands_of
from holdfast.inspection.turns import turns, turns_figure
from holdfast.nn.lstm import LSTM

STEPS = ("what", "a", "dull", "film")


def strands() -> list[Strand]:
    """The state jumps at "dull" forward, and from the end too; the other row is noise."""
    forward = np.zeros((5, 2, 3))
    forward[:4, 1] = [[0.1, 0, 0], [0.1, 0.2, 0], [-0.7, 0.2, 0.6], [-0.7, 0.2, 0.5]]
    backward = np.zeros((5, 2, 3))
    backward[:4, 1] = [[0.8, 0, 0.1], [0.8, 0, 0], [0.8, 0, 0], [0.1, 0, 0]]
    noise = np.random.default_rng(0).standard_normal((5, 3))
    forward[:, 0], backward[:, 0] = noise, noise
    lengths = np.array([5, 4])
    return [
        Strand("layer 1", {"c": forward, "h": 0 * forward}, lengths),
        Strand("layer 1, from the end", {"c": backward}, lengths, reverse=True),
    ]


def test_the_step_that_moves_the_state_most_in_the_order_of_reading() -> None:
    forward, backward = turns(strands(), 1, STEPS)
    np.testing.assert_allclose(forward.change, [0.1, 0.2, 1.0, 0.1])
    assert forward.ranking[0] == 2
    assert (forward.unit[2], forward.before[2], forward.after[2]) == (0, 0.1, -0.7)
    np.testing.assert_allclose(backward.change, [0.1, 0, 0.7, 0.1])
    assert (backward.unit[2], backward.before[2], backward.after[2]) == (0, 0.1, 0.8)
    assert (backward.before[3], backward.after[3]) == (0, 0.1)


def test_the_first_step_starts_from_what_the_layer_has_learnt() -> None:
    torch.manual_seed(0)
    lstm = LSTM(2, 3, num_layers=2, bidirectional=True, learn_initial_state=True)
    with torch.no_grad():
        lstm.initial_c.copy_(torch.arange(12.0).view(4, 3))
    subject = Subject.of(lstm, ("a",), lambda lstm, x, lengths: lstm(x)[0].sum((0, 2))[:, None])
    found = strands_of(subject, [Reading("row", STEPS, torch.randn(4, 1, 2))])
    for run, one in enumerate(turns(found, 0, STEPS)):
        first = 3 if found[run].reverse else 0
        moved = found[run].values["c"][first, 0] - np.arange(3 * run, 3 * run + 3)
        assert one.change[first] == pytest.approx(np.linalg.norm(moved))
        assert one.before[first] == 3 * run + np.abs(moved).argmax()


def test_it_is_said_in_words_and_as_data() -> None:
    forward, _ = turns(strands(), 1, STEPS)
    assert forward.sentence == (
        "layer 1: “dull” (step 3) moved c most, 6.7 times the median step; above all unit 0, "
        "from 0.10 to -0.70"
    )
    assert json.loads(json.dumps(forward.as_dict(), allow_nan=False))["ranking"][0] == 2


@pytest.mark.parametrize(
    ("row", "why"), [(0, "it has 5 steps"), (2, "there are 2 rows"), (-1, "there are 2 rows")]
)
def test_a_row_that_is_not_there(row: int, why: str) -> None:
    with pytest.raises(InputError, match=f"row {row} with 4 steps was asked for; {why}"):
        turns(strands(), row, STEPS)


def test_the_picture_has_bars_over_the_words() -> None:
    axes = turns_figure(turns(strands(), 1, STEPS)).axes
    assert len(axes) == 2
    assert [bar.get_height() for bar in axes[0].patches] == pytest.approx([0.1, 0.2, 1.0, 0.1])
    assert [text.get_text() for text in axes[1].get_xticklabels()] == list(STEPS)
