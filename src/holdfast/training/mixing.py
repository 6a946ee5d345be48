"""Mixing two predictors: how much of the naive part and how much of the LSTM, chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import require

Array = NDArray[np.float64]
PRIOR_ROWS = 2.0
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Mixture:
    """Weights of the parts' log odds: log odds = naive * naive part + lstm * LSTM part.

    A weight of 0 leaves a part out; the size of the weights is also the calibration (temperature scaling of
    Guo et al. 2017, with a temperature for each part).
    """

    naive: float
    lstm: float

    def apply(self, naive: Array, lstm: Array) -> Array:
        """Mixed log odds, of the shape of both parts."""
        return self.naive * naive + self.lstm * lstm


def choose_mixture(
    naive: Array, lstm: Array, targets: NDArray[Any], *, use: tuple[bool, bool] = (True, True)
) -> Mixture:
    """The weights with the lowest log loss on validation rows, from which neither part has learnt.

    The same rows chose the epoch and the strength of the n-grams, so their own scores are optimistic.

    A weight is at least 0.001, so that the order of the classes is kept even where nothing was learnt.

    A weak prior, worth 2 rows, pulls towards trusting each part in use equally, so that a tiny validation
    set does not decide on noise.

    Args:
        naive: log odds of the naive part, `[N, K]`, as `log_loss` takes them.
        lstm: log odds of the LSTM part, `[N, K]`.
        targets: class indices `[N]` (int) or `[N, K]` (bool).
        use: whether the naive part and the LSTM part take part at all.

    Returns:
        The mixture; a part that is not in use has weight 0.
    """
    optimize = require("scipy.optimize", "train", "choosing the mixture")
    parts = [part for part, used in zip((naive, lstm), use, strict=True) if used]
    start = np.full(len(parts), 1.0 / len(parts))

    def objective(weights: Array) -> float:
        mixed = sum((w * part for w, part in zip(weights, parts, strict=True)), np.zeros_like(parts[0]))
        prior = PRIOR_ROWS * float(np.square(weights - start).sum())
        return (log_loss(mixed, targets) * len(targets) + prior) / len(targets)

    found = iter(optimize.minimize(objective, start, bounds=[(LEAST_WEIGHT, None)] * len(parts)).x)
    return Mixture(*(float(next(found)) if used else 0.0 for used in use))


def log_loss(log_odds: Array, targets: NDArray[Any]) -> float:
    """Mean negative log likelihood of log odds `[N, K]`: softmax for class indices, sigmoids for bools."""
    if targets.ndim == 2:
        return float(np.logaddexp(0.0, np.where(targets, -log_odds, log_odds)).sum(1).mean())
    shifted = log_odds - log_odds.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(targets)), targets]).mean())


def probabilities(log_odds: Array, *, multilabel: bool) -> Array:
    """Probabilities `[N, K]` of log odds `[N, K]`: softmax, or a sigmoid per label."""
    if multilabel:
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -700, 700))))
    powers = np.exp(log_odds - log_odds.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def full_log_odds(log_odds: NDArray[Any], classes: int) -> Array:
    """Log odds `[N, K']` of decisions as log odds `[N, K]` of classes: one column becomes (0, log odds)."""
    full = log_odds.astype(np.float64)
    return full if full.shape[1] == classes else np.concatenate([np.zeros_like(full), full], axis=1)
