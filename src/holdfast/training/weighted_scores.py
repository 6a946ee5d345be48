"""The scores of metrics.py for weighted rows, with everything that the weights leave alone prepared once.

A preparation takes the predictions and returns a function from weights `[N]` to scores; a score that the
weighted rows cannot define is NaN. 25,000 rows take under a millisecond per draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = NDArray[np.float64]
CALIBRATION_BINS = 15


def classification_weighter(probabilities: Array, targets: Array) -> Callable[[Weights], dict[str, float]]:
    """Prepare `classification_scores` for probabilities `[N, K]` and targets `[N]`."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    gap = (predicted == targets) - confidence
    pairs, pair = np.unique(targets * classes + predicted, return_inverse=True)
    pair_true, pair_guessed = np.divmod(pairs, classes)
    pair_hit = pair_true == pair_guessed
    bins = calibration_bin(confidence)
    auroc = auroc_weighter(probabilities[:, 1], targets == 1) if classes == 2 else None

    def weigh(weights: Weights) -> dict[str, float]:
        total = weights.sum()
        counts = np.bincount(pair, weights=weights, minlength=len(pairs))
        hits = np.bincount(pair_true, weights=counts * pair_hit, minlength=classes)
        true = np.bincount(pair_true, weights=counts, minlength=classes)
        guessed = np.bincount(pair_guessed, weights=counts, minlength=classes)
        f1 = f1_scores(hits, true, guessed)
        scores = {"accuracy": float(hits.sum() / total), "macro_f1": mean_of_defined(f1)}
        if auroc is not None:
            scores |= {"f1": float(f1[1]), "auroc": auroc(weights)}
        gaps = np.bincount(bins, weights=weights * gap, minlength=CALIBRATION_BINS)
        return scores | {"calibration_error": float(np.abs(gaps).sum() / total)}

    return weigh


def multilabel_weighter(probabilities: Array, targets: Array) -> Callable[[Weights], dict[str, float]]:
    """Prepare `multilabel_scores` for probabilities and targets `[N, K]`."""
    predicted = probabilities >= 0.5
    exact = (predicted == targets).all(axis=1).astype(np.float64)
    hit, true, guessed = (part.astype(np.float64) for part in (predicted & targets, targets, predicted))
    aurocs = [auroc_weighter(probabilities[:, k], targets[:, k]) for k in range(targets.shape[1])]

    def weigh(weights: Weights) -> dict[str, float]:
        hits, trues, guesses = weights @ hit, weights @ true, weights @ guessed
        return {
            "exact_match": float(weights @ exact / weights.sum()),
            "micro_f1": float(f1_scores(hits.sum(), trues.sum(), guesses.sum())),
            "macro_f1": mean_of_defined(f1_scores(hits, trues, guesses)),
            "macro_auroc": mean_of_defined(np.array([auroc(weights) for auroc in aurocs])),
        }

    return weigh


def auroc_weighter(scores: Array, positive: Array) -> Callable[[Weights], float]:
    """Prepare the area under the ROC curve: the chance that a positive row scores above a negative one.

    Equal scores count half (Mann & Whitney 1947); they are summed as groups of the sorted scores.

    Args:
        scores: `[N]`.
        positive: `[N]`, whether each row is positive.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    is_positive = positive[order].astype(np.float64)
    distinct = len(starts) == len(order)

    def weigh(weights: Weights) -> float:
        ordered = weights[order]
        positives = ordered * is_positive
        negatives = ordered - positives
        if not distinct:
            positives, negatives = np.add.reduceat(positives, starts), np.add.reduceat(negatives, starts)
        below = np.cumsum(negatives) - negatives / 2
        pairs = positives.sum() * negatives.sum()
        return float(positives @ below / pairs) if pairs else math.nan

    return weigh


def calibration_bin(confidence: Array) -> NDArray[np.int64]:
    """Which of the equal bins (0, 1/15], (1/15, 2/15], … each probability lies in; 0 lies in the first."""
    bins: NDArray[np.int64] = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    return bins.clip(0, CALIBRATION_BINS - 1)


def f1_scores(hits: Any, true: Any, guessed: Any) -> Array:
    """2 hits / (true + guessed), NaN where both are 0."""
    either = np.asarray(true + guessed, dtype=np.float64)
    result: Array = np.divide(2 * hits, either, out=np.full_like(either, np.nan), where=either > 0)
    return result


def mean_of_defined(values: Array) -> float:
    """The mean of the values that are not NaN, or NaN."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else math.nan
