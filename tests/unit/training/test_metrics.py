"""Metrics against scikit-learn, weighted draws against copied rows, and scores that rows cannot define."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from holdfast.training.metrics import (
    Metric,
    bounds,
    classification_scores,
    differences,
    multilabel_scores,
    resampled_together,
)
from holdfast.training.weighted_scores import (
    auroc_weighter,
    calibration_bin,
    classification_weighter,
    multilabel_weighter,
)

Array = np.ndarray[Any, Any]
ROUNDING = 1e-12  # sums of a few hundred float64 in another order


def resampled(metric: Metric, probabilities: Array, targets: Array, **options: int) -> dict[str, Array]:
    return resampled_together(metric, {"one": probabilities}, targets, **options)["one"]


def interval(metric: Metric, probabilities: Array, targets: Array, **options: int) -> dict[str, Any]:
    draws = resampled(metric, probabilities, targets, **options)
    return {name: bounds(values) for name, values in draws.items()}


def paired_difference(
    metric: Metric, first: Array, second: Array, targets: Array, **options: int
) -> dict[str, dict[str, Any]]:
    draws = resampled_together(metric, {"a": first, "b": second}, targets, **options)
    return differences(metric(first, targets), metric(second, targets), draws["a"], draws["b"])


def single(rows: int, classes: int, seed: int = 0, decimals: int = 2) -> tuple[Array, Array]:
    """Probabilities rounded so that ties occur, and targets that follow them."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) + np.eye(classes)[targets]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if classes == 2:
        second = shares[:, 1].round(decimals)
        return np.stack([1 - second, second], axis=1), targets
    return shares, targets


def several(rows: int, labels: int, seed: int = 0) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    targets = generator.random((rows, labels)) < 0.3
    return (0.4 * generator.random((rows, labels)) + 0.4 * targets).round(2), targets


def draw(rows: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, rows, rows)


def calibration_by_hand(probabilities: Array, targets: Array) -> float:
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            accuracy = (predicted[inside] == targets[inside]).mean()
            total += inside.mean() * abs(accuracy - confidence[inside].mean())
    return float(total)


def test_binary_scores_are_sklearn_s() -> None:
    probabilities, targets = single(300, 2)
    predicted = probabilities.argmax(axis=1)
    assert classification_scores(probabilities, targets) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(targets, predicted),
            "macro_f1": sk.f1_score(targets, predicted, average="macro"),
            "f1": sk.f1_score(targets, predicted),
            "auroc": sk.roc_auc_score(targets, probabilities[:, 1]),
            "calibration_error": calibration_by_hand(probabilities, targets),
        },
        abs=ROUNDING,
    )


@pytest.mark.parametrize(("rows", "classes"), [(400, 2), (300, 5), (40, 30), (3, 2), (1, 2), (1, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_weighted_rows_equal_copied_rows(rows: int, classes: int, seed: int) -> None:
    probabilities, targets = single(rows, classes, seed)
    index = draw(rows, seed)
    weighted = classification_weighter(probabilities, targets)(
        np.bincount(index, minlength=rows).astype(np.float64)
    )
    copied = classification_scores(probabilities[index], targets[index])
    assert {name for name, value in weighted.items() if not np.isnan(value)} == set(copied)
    for name, value in copied.items():
        assert weighted[name] == pytest.approx(value, abs=ROUNDING), name


@pytest.mark.parametrize(("rows", "labels"), [(300, 4), (30, 12), (1, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_weighted_rows_equal_copied_rows_with_several_labels(rows: int, labels: int, seed: int) -> None:
    probabilities, targets = several(rows, labels, seed)
    index = draw(rows, seed)
    weighted = multilabel_weighter(probabilities, targets)(
        np.bincount(index, minlength=rows).astype(np.float64)
    )
    copied = multilabel_scores(probabilities[index], targets[index])
    assert {name for name, value in weighted.items() if not np.isnan(value)} == set(copied)
    for name, value in copied.items():
        assert weighted[name] == pytest.approx(value, abs=ROUNDING), name


def test_multilabel_scores_are_sklearn_s() -> None:
    probabilities, targets = several(300, 4)
    predicted = probabilities >= 0.5
    assert multilabel_scores(probabilities, targets) == pytest.approx(
        {
            "exact_match": sk.accuracy_score(targets, predicted),
            "micro_f1": sk.f1_score(targets, predicted, average="micro"),
            "macro_f1": sk.f1_score(targets, predicted, average="macro"),
            "macro_auroc": sk.roc_auc_score(targets, probabilities, average="macro"),
        },
        abs=ROUNDING,
    )


def test_scores_worked_out_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    scores = classification_scores(probabilities, np.array([0, 1, 1, 0]))
    assert scores["accuracy"] == 0.5
    assert scores["f1"] == 0.5  # one hit, one miss, one false alarm
    assert scores["auroc"] == 0.75  # 3 of the 4 pairs in order
    # bins alone: |1 - .9|, |0 - .6|, |1 - .8|, |0 - .7|, a quarter each
    assert scores["calibration_error"] == pytest.approx(0.4)


def test_a_constant_predictor_has_an_auroc_of_one_half() -> None:
    probabilities, targets = np.full((50, 2), 0.5), np.arange(50) % 2
    assert classification_scores(probabilities, targets)["auroc"] == 0.5
    assert interval(classification_scores, probabilities, targets, resamples=50)["auroc"] == (0.5, 0.5)


def test_one_class_has_no_auroc_and_no_nan() -> None:
    probabilities, _ = single(20, 2)
    scores = classification_scores(probabilities, np.zeros(20, dtype=int))
    assert "auroc" not in scores
    assert np.isfinite(list(scores.values())).all()
    ends = interval(classification_scores, probabilities, np.zeros(20, dtype=int), resamples=20)
    assert ends["auroc"] == (None, None)


def test_draws_without_one_class_are_left_out_of_the_interval() -> None:
    probabilities, targets = single(6, 2, seed=3)
    targets = np.array([0, 0, 0, 0, 0, 1])
    draws = resampled(classification_scores, probabilities, targets, resamples=200)
    # a draw of six misses the one positive row with chance (5/6)**6 = 0.33
    assert 40 < np.isnan(draws["auroc"]).sum() < 95
    low, high = interval(classification_scores, probabilities, targets, resamples=200)["auroc"]
    assert 0 <= low <= high <= 1


def test_a_label_that_nobody_has_or_gets_is_left_out() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.1]])
    scores = multilabel_scores(probabilities, np.array([[True, False], [False, False]]))
    assert scores == {"exact_match": 1.0, "micro_f1": 1.0, "macro_f1": 1.0, "macro_auroc": 1.0}
    assert multilabel_scores(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool)) == {"exact_match": 1.0}


def test_one_row() -> None:
    result = interval(classification_scores, np.array([[0.3, 0.7]]), np.array([1]), resamples=10)
    assert result["accuracy"] == (1.0, 1.0)
    assert result["auroc"] == (None, None)


def test_interval_of_accuracy_is_the_binomial_one() -> None:
    targets = np.zeros(2000, dtype=int)
    right = np.arange(2000) < 1600
    probabilities = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
    low, high = interval(classification_scores, probabilities, targets, resamples=2000)["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    # the quantile of 2,000 draws is itself uncertain by about 5 % of the half width
    assert low == pytest.approx(0.8 - half, abs=0.1 * half)
    assert high == pytest.approx(0.8 + half, abs=0.1 * half)


def test_calibration_interval_holds_the_value_of_a_calibrated_model() -> None:
    generator = np.random.default_rng(0)
    second = generator.random(2000)
    targets = (generator.random(2000) < second).astype(int)
    probabilities = np.stack([1 - second, second], axis=1)
    value = classification_scores(probabilities, targets)["calibration_error"]
    low, high = interval(classification_scores, probabilities, targets)["calibration_error"]
    assert low < value < high


def test_same_seed_same_interval_and_any_function_is_accepted() -> None:
    probabilities, targets = single(80, 2)

    def error_rate(shares: Array, truth: Array) -> dict[str, float]:
        return {"error": float((shares.argmax(axis=1) != truth).mean())}

    first = interval(classification_scores, probabilities, targets, resamples=100, seed=5)
    assert first == interval(classification_scores, probabilities, targets, resamples=100, seed=5)
    assert first != interval(classification_scores, probabilities, targets, resamples=100, seed=6)
    low, high = first["accuracy"]
    errors = interval(error_rate, probabilities, targets, resamples=100, seed=5)["error"]
    assert errors == pytest.approx((1 - high, 1 - low), abs=ROUNDING)


def test_paired_difference_uses_the_same_draws() -> None:
    probabilities, targets = single(500, 2)
    same = paired_difference(classification_scores, probabilities, probabilities, targets, resamples=100)
    assert all(entry == {"value": 0.0, "ci95": [0.0, 0.0]} for entry in same.values())
    # b is a with ten right rows turned wrong: always worse, and never by much more than 2 points
    worse = probabilities.copy()
    right = np.flatnonzero(probabilities.argmax(axis=1) == targets)[:10]
    worse[right] = probabilities[right, ::-1]
    entry = paired_difference(classification_scores, probabilities, worse, targets, resamples=500)["accuracy"]
    assert entry["value"] == pytest.approx(0.02)
    low, high = entry["ci95"]
    assert 0 < low < 0.02 < high < 0.04
    alone = interval(classification_scores, probabilities, targets, resamples=500)["accuracy"]
    assert high - low < (alone[1] - alone[0]) / 2


def test_paired_difference_of_several_labels() -> None:
    probabilities, targets = several(60, 3)
    result = paired_difference(
        multilabel_scores, probabilities, np.zeros_like(probabilities), targets, resamples=50
    )
    assert result["micro_f1"]["value"] == multilabel_scores(probabilities, targets)["micro_f1"]


def test_float32_rounding_above_one_is_accepted() -> None:
    shares = np.array([[0.0, 1.0000001], [1.0, 0.0]], dtype=np.float32)
    assert classification_scores(shares, np.array([1, 0]))["calibration_error"] == 0


def test_a_score_that_no_draw_defines_has_no_ends() -> None:
    assert bounds(np.array([np.nan, np.nan])) == (None, None)
    assert bounds(np.array([np.nan, 1.0])) == (1.0, 1.0)


def test_auroc_counts_ties_half() -> None:
    weigh = auroc_weighter(np.array([0.1, 0.5, 0.5, 0.5]), np.array([False, True, False, True]))
    assert weigh(np.ones(4)) == 0.75
    assert weigh(np.array([0.0, 1.0, 1.0, 0.0])) == 0.5


def test_bins_take_their_upper_end() -> None:
    np.testing.assert_array_equal(calibration_bin(np.array([0.0, 1 / 15, 0.07, 1.0])), [0, 0, 1, 14])


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "N at least 1"),
        (np.zeros(3), np.zeros(3, dtype=int), r"must be \[N, K\]"),
        (np.array([[0.5, np.nan]]), np.array([0]), "from 0 to 1"),
        (np.array([[0.5, 1.5]]), np.array([0]), "from 0 to 1"),
        (np.array([[0.5, 0.5]]), np.array([2]), "from 0 to 1"),
        (np.array([[0.5, 0.5]]), np.array([-1]), "whole numbers"),
        (np.array([[0.5, 0.5]]), np.array([0.0]), "whole numbers"),
        (np.array([[0.5, 0.5]]), np.array([0, 1]), r"targets must be \[1\]"),
    ],
)
def test_wrong_arguments_are_refused(probabilities: Array, targets: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_scores(probabilities, targets)


def test_imdb_sized_bootstrap_takes_seconds() -> None:
    probabilities, targets = single(25_000, 2, decimals=6)
    start = time.process_time()
    interval(classification_scores, probabilities, targets, resamples=100)
    # a thousand draws may take 20 s on one core
    assert time.process_time() - start < 2.0
