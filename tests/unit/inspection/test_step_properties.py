"""What is said of each step by its label."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.inspection.step_properties import (
    after_negation,
    inside_brackets,
    inside_quotes,
    position,
    since_line_break,
    step_properties,
    steps_left,
)

WORDS = ["this", '"', "is", "not", "(", "very", "[", ")", "good", ")", ",", "but", '"', "fine"]


def test_where_a_step_stands() -> None:
    assert position(["a", "b", "c"]).tolist() == [0, 1, 2]
    assert steps_left(["a", "b", "c"]).tolist() == [2, 1, 0]
    assert since_line_break(list("ab\ncd")).tolist() == [1, 2, 0, 1, 2]


def test_brackets_and_quotes_from_the_opening_mark_up_to_the_closing_one() -> None:
    assert inside_brackets(WORDS).tolist() == [0, 0, 0, 0, 1, 1, 2, 1, 1, 0, 0, 0, 0, 0]
    assert inside_quotes(WORDS).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert inside_brackets([")", "(a", "b)"]).tolist() == [0, 1, 0]
    assert inside_quotes(["“", "a", "”", "b"]).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is not very good , really", "0 0 0 1 1 0 0"),
        ("we don't like it but stay", "0 0 1 1 0 0"),
        ("we don’t know", "0 0 1"),
        ("Never say never again .", "0 1 1 1 0"),
        ("nothing", "0"),
        ("knot bad", "0 0"),
    ],
)
def test_after_a_negation_up_to_the_end_of_the_clause(text: str, expected: str) -> None:
    assert after_negation(text.split()).tolist() == [float(number) for number in expected.split()]


def test_characters_are_read_as_words() -> None:
    text = "not so, or don't do"
    found = after_negation(list(text))
    assert "".join(c for c, inside in zip(text, found, strict=True) if inside) == "sodo"


def test_only_what_changes_somewhere_is_given() -> None:
    found = step_properties([["a", "b"], ["c", '"', "d"]])
    assert set(found) == {"position", "steps left", "inside quotes"}
    assert [len(row) for row in found["position"]] == [2, 3]
    assert set(step_properties([["0 ms", "("]], texts=False)) == {"position", "steps left"}
    assert step_properties([["a"], ["b"]]) == {}
    assert "since the last line break" in step_properties([list("a\nb")])
    assert all(np.isfinite(row).all() for rows in found.values() for row in rows)
