"""Scores of classifiers, their 95 % intervals, and paired differences.

Intervals are percentile bootstraps over rows (Efron & Tibshirani 1993, chapter 13): every row is drawn
a whole number of times, and each metric is computed from the rows' weights, never from copied rows.
A difference is taken on the same draws for both predictors, so what makes a row easy or hard for both
cancels out. A metric that a set of rows cannot define (AUROC with one class) is left out.

The calibration error sums absolute values, so drawing rows again makes it larger on average. Its draws are
moved by that amount, down to 0 at most; else the interval could lie wholly above the measured value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import require
from holdfast.training.weighted_scores import (
    CALIBRATION_BINS,
    calibration_bin,
    classification_weighter,
    f1_scores,
    mean_of_defined,
    multilabel_weighter,
)

Array = NDArray[Any]
Metric = Callable[[Array, Array], dict[str, float]]

_TAILS = (2.5, 97.5)
_ROUNDING = 1e-6  # a softmax in float32 can end above 1


def classification_scores(probabilities: Array, targets: Array) -> dict[str, float]:
    """Scores of a classifier with one label per row.

    Args:
        probabilities: `[N, K]`, each row's probability of each class.
        targets: `[N]`, the index of each row's class, 0 to K - 1.

    Returns:
        `accuracy`; `macro_f1`, the mean F1 over the classes that are true or predicted somewhere; for two
        classes `f1` of the second and `auroc`; and `calibration_error`, the expected calibration error
        of the predicted class over 15 equal bins of its probability (Guo et al. 2017), 0 to 1.

    Raises:
        ValueError: the shapes do not fit, there is no row, or a value is out of range.
    """
    probabilities, targets = _checked(probabilities, targets)
    metrics = require("sklearn.metrics", "train", "scoring a classifier")
    predicted = probabilities.argmax(axis=1)
    scores = {
        "accuracy": metrics.accuracy_score(targets, predicted),
        "macro_f1": metrics.f1_score(targets, predicted, average="macro", zero_division=0),
    }
    if probabilities.shape[1] == 2:
        scores["f1"] = metrics.f1_score(targets, predicted, pos_label=1, zero_division=np.nan)
        if len(np.unique(targets)) == 2:
            scores["auroc"] = metrics.roc_auc_score(targets, probabilities[:, 1])
    scores["calibration_error"] = _calibration_error(probabilities, targets)
    return _defined(scores)


def multilabel_scores(probabilities: Array, targets: Array) -> dict[str, float]:
    """Scores of a classifier with any number of labels per row; a label is predicted from 0.5 on.

    Args:
        probabilities: `[N, K]`, each row's probability of each label.
        targets: `[N, K]`, whether each row has each label.

    Returns:
        `exact_match`, the share of rows with every label right; `micro_f1`; `macro_f1` over the labels
        that are true or predicted somewhere; and `macro_auroc` over the labels that some rows have and
        others lack.

    Raises:
        ValueError: the shapes do not fit, there is no row, or a value is out of range.
    """
    probabilities, targets = _checked(probabilities, targets)
    metrics = require("sklearn.metrics", "train", "scoring a classifier")
    predicted = probabilities >= 0.5
    mixed = [k for k in range(targets.shape[1]) if 0 < targets[:, k].sum() < len(targets)]
    scores: dict[str, float] = {
        "exact_match": float((predicted == targets).all(axis=1).mean()),
        "micro_f1": float(f1_scores((predicted & targets).sum(), targets.sum(), predicted.sum())),
        "macro_f1": _mean(
            [
                metrics.f1_score(targets[:, k], predicted[:, k], zero_division=np.nan)
                for k in range(targets.shape[1])
            ]
        ),
        "macro_auroc": _mean([metrics.roc_auc_score(targets[:, k], probabilities[:, k]) for k in mixed]),
    }
    return _defined(scores)


def resampled_together(
    metric: Metric,
    probabilities: Mapping[str, Array],
    targets: Array,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Array]]:
    """Each score of several predictors on each of `resamples` bootstrap draws of the rows.

    The rows are drawn once for all predictors; the draws depend on the number of rows, `resamples` and
    `seed` alone.

    Args:
        metric: `classification_scores`, `multilabel_scores`, or any function of the same form (slower).
        probabilities: `[N, K]` of each predictor, by name.
        targets: `[N]` or `[N, K]`, as `metric` wants.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        For each predictor and score `[resamples]` values; NaN where a draw cannot define it.
    """
    scorers = {name: _scorer(metric, array, targets) for name, array in probabilities.items()}
    draws: dict[str, list[dict[str, float]]] = {name: [] for name in scorers}
    for weights in _weights(len(targets), resamples, seed):
        for name, score in scorers.items():
            draws[name].append(score(weights))
    for name, score in scorers.items():
        _centre_calibration(draws[name], score(np.ones(len(targets))))
    return {name: _columns(values) for name, values in draws.items()}


def differences(
    scores_a: Mapping[str, float],
    scores_b: Mapping[str, float],
    draws_a: Mapping[str, Array],
    draws_b: Mapping[str, Array],
) -> dict[str, dict[str, Any]]:
    """How much better a scores than b, with a 95 % interval from the same draws for both.

    Args:
        scores_a: the scores of the first predictor.
        scores_b: the scores of the second.
        draws_a: those of the first on each draw, as `resampled_together` gives them.
        draws_b: those of the second on the same draws.

    Returns:
        For each score of both `{"value": a - b, "ci95": [low, high]}`.
    """
    result = {}
    for name in scores_a:
        if name in scores_b and name in draws_a and name in draws_b:
            low, high = bounds(draws_a[name] - draws_b[name])
            result[name] = {"value": scores_a[name] - scores_b[name], "ci95": [low, high]}
    return result


def bounds(draws: Array) -> tuple[float | None, float | None]:
    """The 2.5 % and 97.5 % quantile of the draws that are defined; None where none is."""
    if np.isnan(draws).all():
        return None, None
    low, high = np.nanpercentile(draws, _TAILS)
    return float(low), float(high)


def _scorer(metric: Metric, probabilities: Array, targets: Array) -> Callable[[Array], dict[str, float]]:
    if metric is classification_scores:
        return classification_weighter(*_checked(probabilities, targets))
    if metric is multilabel_scores:
        return multilabel_weighter(*_checked(probabilities, targets))
    rows = np.arange(len(targets))

    def copy_rows(weights: Array) -> dict[str, float]:
        index = np.repeat(rows, weights.astype(np.int64))
        return metric(probabilities[index], targets[index])

    return copy_rows


def _columns(draws: list[dict[str, float]]) -> dict[str, Array]:
    names = dict.fromkeys(name for draw in draws for name in draw)
    return {name: np.array([draw.get(name, math.nan) for draw in draws]) for name in names}


def _centre_calibration(draws: list[dict[str, float]], measured: Mapping[str, float]) -> None:
    if "calibration_error" not in measured or not draws:
        return
    bias = float(np.mean([draw["calibration_error"] for draw in draws])) - measured["calibration_error"]
    for draw in draws:
        draw["calibration_error"] = max(draw["calibration_error"] - bias, 0.0)


def _weights(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(0, rows, size=rows)
        yield np.bincount(drawn, minlength=rows).astype(np.float64)


def _checked(probabilities: Array, targets: Array) -> tuple[Array, Array]:
    probabilities, targets = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    if probabilities.ndim != 2 or len(probabilities) == 0:
        raise ValueError(f"probabilities must be [N, K] with N at least 1, not {list(probabilities.shape)}")
    rows, classes = probabilities.shape
    if not ((probabilities >= -_ROUNDING) & (probabilities <= 1 + _ROUNDING)).all():
        raise ValueError("probabilities must be from 0 to 1")
    probabilities = probabilities.clip(0, 1)
    if targets.shape == (rows, classes):
        return probabilities, targets.astype(bool)
    if targets.shape != (rows,):
        raise ValueError(f"targets must be [{rows}] or [{rows}, {classes}], not {list(targets.shape)}")
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= classes:
        raise ValueError(f"targets must be whole numbers from 0 to {classes - 1}")
    return probabilities, targets.astype(np.int64)


def _calibration_error(probabilities: Array, targets: Array) -> float:
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == targets) - confidence
    bins = calibration_bin(confidence)
    return float(sum(abs(gap[bins == b].sum()) for b in range(CALIBRATION_BINS)) / len(targets))


def _mean(values: list[float]) -> float:
    return mean_of_defined(np.array(values, dtype=np.float64))


def _defined(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if not math.isnan(value)}
