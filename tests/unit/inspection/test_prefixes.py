"""The answer after each step: what the network says of the row cut there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from readers import last, reader, row

from holdfast.errors import InputError
from holdfast.inspection import prefixes as prefixes_module
from holdfast.inspection.objective import score
from holdfast.inspection.prefixes import Prefixes, prefixes
from holdfast.inspection.subject import Reading


@pytest.mark.parametrize("numbers", [1, 1 << 22])
def test_it_is_what_is_said_of_the_row_cut_there(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes_module, "MOST_NUMBERS", numbers)
    subject, own = reader(), row(7)
    found = prefixes(subject, own, "b")
    for step in range(7):
        cut = Reading("cut", own.steps[: step + 1], own.x[: step + 1])
        scores = subject.scores([cut])[0]
        assert found.after[step] == pytest.approx(scores[1] - scores[0], rel=1e-9)
    scores = subject.scores([Reading("nothing", ("",), torch.zeros_like(own.x[:1]))])[0]
    assert found.before == pytest.approx(scores[1] - scores[0])
    assert found.output == "b"


def test_another_number_is_followed_where_asked() -> None:
    subject = reader()
    found = prefixes(subject, row(), 0, score(0))
    assert found.after[-1] == pytest.approx(subject.scores([row()])[0, 0])


def test_the_turn_is_the_largest_change_and_no_small_one() -> None:
    made = Prefixes("a row", ("so", "very", "good"), "good", 0.5, np.array([0.0, 2.5, 2.0]))
    assert made.changes.tolist() == [-0.5, 2.5, -0.5]
    assert made.turn == 1
    assert made.sentence == (
        "a row: “very” (step 2) turned it, log odds of good from +0.0 to +2.5; at the end +2.0"
    )
    still = Prefixes("a row", ("so",), "good", 0.0, np.array([0.5]))
    assert still.sentence == "a row: no step alone changed the log odds of good by 1 or more"
    assert Prefixes("a row", ("so",), "good", 0.0, np.array([-0.99])).turn is None
    assert Prefixes("a row", ("so",), "good", 0.0, np.array([-1.0])).turn == 0


def test_only_a_change_of_sign_is_a_turn() -> None:
    more = Prefixes("a row", ("very", "good"), "good", 0.5, np.array([1.0, 3.5]))
    assert "“good” (step 2) changed it most, log odds of good from +1.0 to +3.5" in more.sentence
    worse = Prefixes("a row", ("not", "good"), "good", 0.5, np.array([-2.0, -1.5]))
    assert "“not” (step 1) turned it, log odds of good from +0.5 to -2.0" in worse.sentence
    assert prefixes(reader(), row(), 0, score(0)).number == "score"


def test_a_network_that_takes_no_lengths_is_refused() -> None:
    with pytest.raises(InputError, match="takes no lengths"):
        prefixes(last(), row())


def test_the_numbers_are_plain_and_the_picture_shows_them() -> None:
    found = prefixes(reader(), row())
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["after"] == found.after.tolist()
    axes = found.figure().axes[0]
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), found.after)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(found.steps)
    assert axes.get_ylabel().startswith("log odds of")
    assert len(prefixes(reader(), row(70)).figure().axes[0].get_lines()) >= 2
