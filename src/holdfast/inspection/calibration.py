"""Whether a model is as often right as it says: reliability by confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.axes import tidy
from holdfast.inspection.canvas import GREY, TRAIN, new_figure
from holdfast.inspection.plain import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15
DRAWS = 1000
CHANCE = 0.95


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy, in 15 equal bins of the confidence.

    Attributes:
        edges: of the bins, from 0 to 1, `[16]`.
        counts: answers in each bin, `[15]`.
        confidence: their mean confidence, `[15]`; NaN in an empty bin.
        accuracy: the share of them that is right, `[15]`; NaN in an empty bin.
        error: the expected calibration error: the mean distance of the two over all answers (Guo et al.
            2017).
        chance: the error that a model with these confidences would stay below in 95 % of all draws if it were
            right exactly as often as it says; with few answers it is far above 0.
        mean_confidence: over all answers.
        mean_accuracy: likewise.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    error: float
    chance: float
    mean_confidence: float
    mean_accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data; NaN as None."""
        named: dict[str, Any] = plain(self)
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.error <= self.chance:
            return (
                f"The model is about as often right as it says: its confidence is off by {self.error:.1%} on "
                f"the average, and {self.chance:.1%} would be chance with {self.counts.sum()} answers"
            )
        side = "too sure" if self.mean_confidence > self.mean_accuracy else "not sure enough"
        return (
            f"The model is {side}: it says {self.mean_confidence:.0%} on the average and is right in "
            f"{self.mean_accuracy:.0%} (calibration error {self.error:.1%}; up to {self.chance:.1%} would be "
            "chance)"
        )

    def figure(self) -> Figure:
        """Accuracy against confidence, the diagonal of a model that is as often right as it says, and counts.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure = new_figure(4.2, 4.2)
        above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        filled = self.counts > 0
        above.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as often right as it says")
        above.plot(
            self.confidence[filled], self.accuracy[filled], color=TRAIN, marker="o", label="this model"
        )
        above.set_ylim(-0.03, 1.03)
        above.legend(frameon=False, fontsize=8)
        below.bar(self.edges[:-1], self.counts, 1 / BINS, align="edge", color=GREY)
        below.set_xlim(0, 1)
        tidy(above, up="share that is right")
        tidy(below, across="how sure it says it is", up="answers")
        return figure


def calibration(probabilities: NDArray[Any], targets: NDArray[Any], *, seed: int = 0) -> Calibration:
    """Whether a classifier is as often right as it says.

    Args:
        probabilities: `[N, K]`.
        targets: the right class of each row, `[N]`, int; or which labels each row has, `[N, K]`, bool: then
            each label of each row is an answer of its own.
        seed: of the draws for `chance`.

    Raises:
        InputError: the shapes do not fit, or there is no row.
    """
    if probabilities.ndim != 2 or not len(probabilities) or len(targets) != len(probabilities):
        raise InputError(
            f"calibration needs probabilities [N, K] and N targets, N at least 1; got "
            f"{list(probabilities.shape)} and {list(targets.shape)}"
        )
    confidence, right = _answers(probabilities.astype(np.float64), targets)
    bins = (np.ceil(confidence * BINS).astype(np.int64) - 1).clip(0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = np.where(counts > 0, counts, np.nan)
    means = np.bincount(bins, confidence, BINS) / filled
    generator = np.random.default_rng(seed)
    by_chance = [
        _error(bins, confidence, generator.random(len(confidence)) < confidence) for _ in range(DRAWS)
    ]
    return Calibration(
        np.linspace(0, 1, BINS + 1),
        counts,
        means,
        np.bincount(bins, right, BINS) / filled,
        _error(bins, confidence, right),
        float(np.quantile(by_chance, CHANCE)),
        float(confidence.mean()),
        float(right.mean()),
    )


def _answers(probabilities: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """How sure each answer is, and whether it is right."""
    if targets.ndim == 2:
        sure = np.maximum(probabilities, 1 - probabilities)
        return sure.ravel(), ((probabilities >= 0.5) == targets).ravel()
    return probabilities.max(1), probabilities.argmax(1) == targets


def _error(bins: NDArray[Any], confidence: NDArray[Any], right: NDArray[Any]) -> float:
    gaps = np.bincount(bins, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(bins))
