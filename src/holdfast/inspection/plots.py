"""Pictures of a training run and of the gates over a sentence; matplotlib stands behind this file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

DPI = 120
TRAIN, VALID, GREY = "#4c72b0", "#c44e52", "#777777"
UNITS = 8
MOST_TOKENS = 40
MEANINGS = {
    "i": "i, input gate",
    "f": "f, forget gate",
    "o": "o, output gate",
    "g": "g, candidate",
    "c": "c, cell state",
    "h": "h, hidden state",
}
GATES = ("i", "f", "o")


class Epoch(Protocol):
    """What a picture needs to know about one epoch; `training.history.EpochRow` is one."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def train_loss(self) -> float:
        """Mean over the training rows."""

    @property
    def valid_loss(self) -> float:
        """Mean over the validation rows."""

    @property
    def valid_accuracy(self) -> float:
        """From 0 to 1."""

    @property
    def clipped_share(self) -> float:
        """Share of the steps whose gradient was scaled down, from 0 to 1."""


class Trace(Protocol):
    """What a picture needs to know about one sentence; `TextModel.trace` gives one."""

    @property
    def tokens(self) -> Sequence[str]:
        """The T tokens."""

    @property
    def values(self) -> Mapping[str, NDArray[np.float32]]:
        """Each named value of the cell, `[L, D, T, H]`."""

    @property
    def probabilities(self) -> NDArray[Any]:
        """Of each class, `[K]`."""

    @property
    def classes(self) -> Sequence[str]:
        """The K names of the classes."""


def loss_picture(history: Sequence[Epoch]) -> bytes:
    """The loss curves of a training run as a PNG.

    Args:
        history: one row per epoch, at least one.

    Raises:
        InputError: `history` is empty.
        MissingExtraError: matplotlib is not installed.
    """
    return _png(loss_figure(history))


def loss_figure(history: Sequence[Epoch]) -> Figure:
    """The loss curves of a training run, and beside them the validation accuracy and the clipped steps."""
    figure = _new_figure(8.0, 3.2)
    _draw_losses(figure, history)
    return figure


def _draw_losses(figure: Figure | SubFigure, history: Sequence[Epoch]) -> None:
    if not history:
        raise InputError("there is no epoch to draw: the history of the training is empty")
    epochs = [row.epoch for row in history]
    best = min(history, key=lambda row: row.valid_loss)
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) <= 30 else ""
    left.plot(epochs, [row.train_loss for row in history], color=TRAIN, marker=marker, label="training")
    left.plot(epochs, [row.valid_loss for row in history], color=VALID, marker=marker, label="validation")
    left.axvline(best.epoch, color=GREY, linestyle=":", label=f"best epoch: {best.epoch}")
    left.set_title("Loss", loc="left")
    right.plot(
        epochs,
        [row.valid_accuracy for row in history],
        color=VALID,
        marker=marker,
        label="validation accuracy",
    )
    right.plot(
        epochs,
        [row.clipped_share for row in history],
        color=GREY,
        marker=marker,
        label="share of steps clipped",
    )
    right.axvline(best.epoch, color=GREY, linestyle=":")
    right.set_ylim(-0.03, 1.03)
    right.set_title("Accuracy and clipped gradients", loc="left")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)


def _new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure that belongs to no window and no global state."""
    figure: Figure = require("matplotlib.figure", "train", "drawing a picture").Figure(
        figsize=(width_inches, height_inches), layout="constrained"
    )
    return figure


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A word in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()
