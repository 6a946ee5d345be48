"""What stands along the axes of every diagram."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.inspection.axes import count_steps, label_steps, mark_middle, shortened, tidy
from holdfast.inspection.canvas import new_figure


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("film", "film"),
        ("two words", "two␣words"),
        ("a\nb\tc", "a␣b␣c"),
        ("x" * 16, "x" * 16),
        ("x" * 17, "x" * 15 + "…"),
        ("", ""),
    ],
)
def test_a_label_is_one_short_line(step: str, shown: str) -> None:
    assert shortened(step) == shown


def test_few_steps_are_named_and_many_are_counted() -> None:
    axes = new_figure(4, 2).subplots()
    label_steps(axes, ["$a$", "b"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["$a$", "b"]
    assert not any(label.get_parse_math() for label in axes.get_xticklabels())
    axes = new_figure(4, 2).subplots()
    axes.plot(range(61))
    label_steps(axes, ["word"] * 61)
    assert "word" not in [label.get_text() for label in axes.get_xticklabels()]


def test_numbers_of_steps_are_whole() -> None:
    axes = new_figure(4, 2).subplots()
    axes.plot([0, 1, 2])
    count_steps(axes)
    assert all(float(tick) == int(tick) for tick in axes.get_xticks())


def test_what_stands_along_the_axes() -> None:
    axes = new_figure(4, 2).subplots()
    tidy(axes, across="steps", up="change", title="$ 5")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == ("steps", "change", "$ 5")
    assert not axes.spines["top"].get_visible()


@pytest.mark.parametrize(("readings", "lines"), [([4, 4, 2, 1], [2.5]), ([2, 2], []), ([1], [])])
def test_where_half_of_the_rows_have_ended(readings: list[int], lines: list[float]) -> None:
    axes = new_figure(4, 2).subplots()
    mark_middle(axes, np.array(readings))
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()] == [[x, x] for x in lines]
