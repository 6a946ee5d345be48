"""Mixing: known weights are found, tiny sets do not decide, and probabilities are probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss as sklearn_log_loss

from holdfast.training.mixing import (
    LEAST_WEIGHT,
    Mixture,
    choose_mixture,
    full_log_odds,
    log_loss,
    probabilities,
)

Array = np.ndarray[Any, Any]
ODDS = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 4)), elements=st.floats(-1e4, 1e4))


def drawn(
    rows: int, weights: tuple[float, float], *, multilabel: bool = False, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Two parts, and targets drawn from their mixture with these weights."""
    generator = np.random.default_rng(seed)
    naive, lstm = (2 * generator.standard_normal((rows, 3)) for _ in range(2))
    mixed = weights[0] * naive + weights[1] * lstm
    if multilabel:
        return naive, lstm, generator.random((rows, 3)) < 1 / (1 + np.exp(-mixed))
    return naive, lstm, (mixed + generator.gumbel(size=(rows, 3))).argmax(1)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("weights", [(0.8, 0.3), (0.2, 1.5), (1.0, 1.0)])
def test_known_weights_are_found(weights: tuple[float, float], multilabel: bool) -> None:
    mixture = choose_mixture(*drawn(8000, weights, multilabel=multilabel))
    # 8,000 rows leave a standard error of about 0.02
    assert (mixture.naive, mixture.lstm) == pytest.approx(weights, abs=0.08)


def test_no_weights_near_the_chosen_ones_are_better() -> None:
    naive, lstm, targets = drawn(300, (0.8, 0.3))

    def objective(a: float, b: float) -> float:
        prior = 2.0 * ((a - 0.5) ** 2 + (b - 0.5) ** 2)
        return log_loss(a * naive + b * lstm, targets) + prior / 300

    found = choose_mixture(naive, lstm, targets)
    best = objective(found.naive, found.lstm)
    for da, db in [(0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02), (0.02, -0.02), (-0.02, 0.02)]:
        assert objective(found.naive + da, found.lstm + db) > best


def test_a_part_that_is_always_wrong_gets_the_least_weight() -> None:
    naive, lstm, targets = drawn(2000, (1.0, -1.0))
    mixture = choose_mixture(naive, lstm, targets)
    assert mixture.lstm == LEAST_WEIGHT
    assert mixture.naive > 0.5


def test_the_prior_matters_for_tiny_sets_only() -> None:
    wrong = np.array([[5.0, -5.0]])
    one = choose_mixture(wrong, wrong, np.array([0]))
    assert (one.naive, one.lstm) == pytest.approx((0.5, 0.5), abs=0.05)  # not infinitely sure after one row
    many = choose_mixture(*drawn(2000, (3.0, 0.0)))
    assert many.naive > 2
    assert many.lstm < 0.3


@pytest.mark.parametrize(("use", "kept"), [((True, False), "naive"), ((False, True), "lstm")])
def test_a_part_that_is_off_gets_zero(use: tuple[bool, bool], kept: str) -> None:
    naive, lstm, targets = drawn(3000, (0.7, 0.7))
    mixture = choose_mixture(naive, lstm, targets, use=use)
    off = "lstm" if kept == "naive" else "naive"
    assert getattr(mixture, off) == 0
    assert 0.2 < getattr(mixture, kept) < 0.8


def test_an_overconfident_part_is_cooled() -> None:
    naive, lstm, targets = drawn(8000, (1.0, 0.0))
    assert choose_mixture(10 * naive, lstm, targets, use=(True, False)).naive == pytest.approx(0.1, abs=0.01)


@given(ODDS)
def test_log_loss_of_classes_is_sklearn_s(odds: Array) -> None:
    odds = odds / 1e3  # where sklearn's probabilities do not round to 0
    targets = np.arange(len(odds)) % odds.shape[1]
    powers = np.exp(odds)
    expected = sklearn_log_loss(
        targets, powers / powers.sum(1, keepdims=True), labels=np.arange(odds.shape[1])
    )
    assert log_loss(odds, targets) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_log_loss_of_labels_adds_up_over_labels() -> None:
    generator = np.random.default_rng(0)
    odds, targets = generator.standard_normal((20, 3)), generator.random((20, 3)) < 0.5
    chances = 1 / (1 + np.exp(-odds))
    expected = sum(sklearn_log_loss(targets[:, k], chances[:, k], labels=[False, True]) for k in range(3))
    assert log_loss(odds, targets) == pytest.approx(expected, rel=1e-12)


@given(ODDS, st.booleans())
def test_probabilities_are_between_zero_and_one_and_never_overflow(odds: Array, multilabel: bool) -> None:
    chances = probabilities(odds, multilabel=multilabel)
    assert ((chances >= 0) & (chances <= 1)).all()
    if not multilabel:
        np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-12)
    targets = odds > 0 if multilabel else odds.argmax(1)
    assert np.isfinite(log_loss(odds, targets))
    assert np.isfinite(log_loss(-odds, targets))


def test_probabilities_by_hand() -> None:
    odds = np.log(np.array([[1.0, 3.0]]))
    np.testing.assert_allclose(probabilities(odds, multilabel=False), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(odds, multilabel=True), [[0.5, 0.75]])


def test_full_log_odds_keep_the_probabilities() -> None:
    odds = np.array([[2.0], [-1.0]], np.float32)
    full = full_log_odds(odds, 2)
    assert full.dtype == np.float64
    assert full.tolist() == [[0.0, 2.0], [0.0, -1.0]]
    sigmoid = 1 / (1 + np.exp(-odds[:, 0].astype(float)))
    np.testing.assert_allclose(probabilities(full, multilabel=False)[:, 1], sigmoid, rtol=1e-12)
    three = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(full_log_odds(three, 3), three)
    np.testing.assert_array_equal(full_log_odds(odds, 1), odds)


def test_a_mixture_is_a_weighted_sum() -> None:
    assert Mixture(2.0, 0.5).apply(np.array([[1.0, 2.0]]), np.array([[4.0, -2.0]])).tolist() == [[4.0, 3.0]]
