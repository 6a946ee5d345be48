"""How a training went: loss, accuracy and gradients, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.axes import count_steps, tidy
from holdfast.inspection.canvas import GREY, TRAIN, VALID, new_figure
from holdfast.inspection.plain import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_MARKERS = 30


class Epoch(Protocol):
    """What is known of one epoch; `training.history.EpochRow` is one."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def train_loss(self) -> float:
        """Mean over the training rows, with dropout."""

    @property
    def valid_loss(self) -> float:
        """Mean over the validation rows."""

    @property
    def valid_accuracy(self) -> float:
        """From 0 to 1."""

    @property
    def gradient_norm(self) -> float:
        """The epoch's largest, before clipping."""

    @property
    def clipped_share(self) -> float:
        """Share of the steps whose gradient was scaled down, from 0 to 1."""


@dataclass(frozen=True)
class History:
    """A training, epoch by epoch.

    Attributes:
        epochs: their numbers, `[E]`.
        train_loss: `[E]`.
        valid_loss: `[E]`.
        valid_accuracy: `[E]`.
        gradient_norm: the largest of each epoch, before clipping, `[E]`.
        clipped_share: `[E]`.
        best: the index of the epoch with the lowest validation loss.
    """

    epochs: NDArray[np.int64]
    train_loss: NDArray[np.float64]
    valid_loss: NDArray[np.float64]
    valid_accuracy: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    clipped_share: NDArray[np.float64]
    best: int

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        named: dict[str, Any] = plain(self)
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        best = self.best
        return (
            f"Validation was best in epoch {self.epochs[best]} of {len(self.epochs)}: accuracy "
            f"{self.valid_accuracy[best]:.1%}, loss {self.valid_loss[best]:.3f} (training loss "
            f"{self.train_loss[best]:.3f}, with dropout); {self.clipped_share.mean():.0%} of all gradients "
            "were clipped"
        )

    def figure(self) -> Figure:
        """The losses, the accuracy, and the gradients.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure = new_figure(9.0, 2.8)
        losses, accuracy, gradients = figure.subplots(1, 3)
        marker = "o" if len(self.epochs) <= MOST_MARKERS else ""
        drawn: dict[str, Any] = {"marker": marker, "markersize": 4}
        losses.plot(self.epochs, self.train_loss, color=TRAIN, label="training", **drawn)
        losses.plot(self.epochs, self.valid_loss, color=VALID, label="validation", **drawn)
        losses.legend(frameon=False, fontsize=8)
        accuracy.plot(self.epochs, self.valid_accuracy, color=VALID, **drawn)
        gradients.plot(self.epochs, self.gradient_norm, color=TRAIN, label="largest norm", **drawn)
        gradients.set_ylim(bottom=0)
        shares = gradients.twinx()
        shares.bar(self.epochs, self.clipped_share, color=GREY, alpha=0.3, label="share clipped")
        shares.set_ylim(0, 1)
        shares.set_ylabel("share of the steps", fontsize=8)
        shares.tick_params(labelsize=8)
        shares.spines[["top"]].set_visible(False)
        both = [part for axes in (gradients, shares) for part in axes.get_legend_handles_labels()[0]]
        gradients.legend(handles=both, frameon=False, fontsize=8)
        titles = ("Loss", "Accuracy on validation rows", "Gradients before clipping")
        for axes, title in zip((losses, accuracy, gradients), titles, strict=True):
            axes.axvline(self.epochs[self.best], color=GREY, linestyle=":")
            tidy(axes, across="epoch", title=title)
            count_steps(axes)
        return figure


def history_of(rows: Sequence[Epoch]) -> History:
    """A training from its rows, such as `training.history.from_csv` reads them from a model's history.csv.

    Raises:
        InputError: there is no row.
    """
    if not rows:
        raise InputError("the history of the training is empty: there is no epoch to look at")
    return History(
        np.array([row.epoch for row in rows]),
        np.array([row.train_loss for row in rows]),
        np.array([row.valid_loss for row in rows]),
        np.array([row.valid_accuracy for row in rows]),
        np.array([row.gradient_norm for row in rows]),
        np.array([row.clipped_share for row in rows]),
        int(np.argmin([row.valid_loss for row in rows])),
    )
