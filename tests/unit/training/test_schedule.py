"""The learning rate at the points that can be said in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.training.schedule import cosine, plateau

EXACT = {"rel": 1e-12, "abs": 1e-12}


def test_cosine_rises_to_one_and_falls_to_zero() -> None:
    factors = [cosine(step, 100, 0.2) for step in range(1, 101)]
    assert factors[:20] == pytest.approx([step / 20 for step in range(1, 21)], **EXACT)
    assert factors[19] == 1
    assert factors[59] == pytest.approx(0.5, **EXACT)
    assert factors[39] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)), **EXACT)
    assert factors[99] == pytest.approx(0, **EXACT)
    assert factors[19:] == sorted(factors[19:], reverse=True)


@pytest.mark.parametrize("warmup", [0.0, 0.004])
def test_cosine_without_warmup_starts_high(warmup: float) -> None:
    assert cosine(1, 100, warmup) == pytest.approx(1, abs=1e-3)


def test_cosine_of_nothing_but_warmup() -> None:
    assert [cosine(step, 4, 1.0) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]


@given(steps=st.integers(1, 500), warmup=st.floats(0, 1), share=st.floats(0, 1))
def test_a_factor_is_between_zero_and_one(steps: int, warmup: float, share: float) -> None:
    step = max(1, round(share * steps))
    assert 0 <= cosine(step, steps, warmup) <= 1
    assert 0 <= plateau(step, steps, warmup, [1.0, 2.0, 3.0]) <= 1


@pytest.mark.parametrize(
    ("losses", "factor"),
    [
        ([], 1),
        ([3.0, 2.0, 1.0], 1),
        ([1.0, 2.0], 1),  # one epoch without a gain is forgiven
        ([1.0, 2.0, 1.5], 0.5),
        ([1.0, 1.0, 1.0], 0.5),  # no change is no gain
        ([1.0, 2.0, 0.5, 2.0], 1),  # a gain starts the count anew
        ([1.0, 2.0, 2.0, 2.0], 0.5),
        ([1.0, 2.0, 2.0, 2.0, 2.0], 0.25),
    ],
)
def test_plateau_halves_after_two_epochs_without_a_gain(losses: list[float], factor: float) -> None:
    assert plateau(500, 1000, 0.1, losses) == factor
    assert plateau(50, 1000, 0.1, losses) == factor / 2  # halfway up
