"""Pictures of a training run and of the gates over a sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.canvas import GATE_COLOURS, GREY, STATE_COLOURS, TRAIN, VALID, new_figure, png
from holdfast.inspection.measures import liveliest_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH_INCHES, LOSS_INCHES, PANEL_INCHES, WORDS_INCHES = 10.0, 2.6, 1.15, 1.9
UNITS = 8
MOST_TOKENS = 40
MOST_CHARACTERS = 16
GATES = {"i": "input gate", "f": "forget gate", "o": "output gate"}
STATES = {"g": "candidate", "c": "cell state", "h": "hidden state"}
FORWARD, REVERSE = 0, 1


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
    return png(loss_figure(history))


def loss_figure(history: Sequence[Epoch]) -> Figure:
    """The loss curves of a training run, and beside them the validation accuracy and the clipped steps."""
    figure = new_figure(8.0, 3.2)
    _draw_losses(figure, history)
    return figure


def gates_figure(trace: Trace) -> Figure:
    """The gates, candidate, cell state and hidden state of the first layer over one sentence.

    The forward direction's liveliest units are drawn (`measures.liveliest_units`), word by word; below them,
    where the network also reads from the end, what the reverse direction forgets and keeps. A sentence of
    more than 40 tokens is drawn up to the 40th, and the title says so.

    Args:
        trace: what happened inside the network while it read the sentence.

    Raises:
        InputError: the trace has no steps.
        MissingExtraError: matplotlib is not installed.
    """
    panels = _panels(trace)
    figure = new_figure(WIDTH_INCHES, _gates_inches(panels))
    _draw_gates(figure, trace, panels)
    return figure


def report_picture(history: Sequence[Epoch], trace: Trace) -> bytes:
    """One PNG: what a sentence was taken for, the loss curves, and the gates over its words.

    Args:
        history: one row per epoch, at least one.
        trace: what happened inside the network while it read the sentence.

    Raises:
        InputError: `history` is empty, or the trace has no steps.
        MissingExtraError: matplotlib is not installed.
    """
    panels = _panels(trace)
    heights = (LOSS_INCHES, _gates_inches(panels))
    figure = new_figure(WIDTH_INCHES, sum(heights) + 0.6)
    above, below = cast("tuple[SubFigure, SubFigure]", figure.subfigures(2, 1, height_ratios=heights))
    _draw_losses(above, history)
    _draw_gates(below, trace, panels)
    best = int(np.argmax(trace.probabilities))
    verdict = f"{trace.classes[best]}, {float(trace.probabilities[best]):.0%}"
    figure.suptitle(
        f"{_sentence(trace.tokens)}\npredicted: {verdict}", fontsize=12, fontweight="bold", parse_math=False
    )
    return png(figure)


def _panels(trace: Trace) -> list[list[tuple[str, int]]]:
    """Two columns of panels, gates left and states right; each panel a value's name and a direction."""
    if not trace.tokens:
        raise InputError("there is no step to draw: the trace holds no tokens")
    directions = next(iter(trace.values.values())).shape[1]
    columns = []
    for names, also_reverse in ((GATES, "f"), (STATES, "c")):
        column = [(name, FORWARD) for name in names if name in trace.values]
        if directions > 1 and column:
            column.append((also_reverse if also_reverse in trace.values else column[-1][0], REVERSE))
        columns.append(column)
    return [column for column in columns if column]


def _gates_inches(panels: list[list[tuple[str, int]]]) -> float:
    return PANEL_INCHES * max(map(len, panels)) + WORDS_INCHES


def _draw_gates(figure: Figure | SubFigure, trace: Trace, panels: list[list[tuple[str, int]]]) -> None:
    shown = min(len(trace.tokens), MOST_TOKENS)
    units = [_units(trace, direction) for direction in (FORWARD, REVERSE)]
    rows = max(map(len, panels))
    grid = figure.subplots(rows, len(panels), sharex="col", squeeze=False)
    for column, names in enumerate(panels):
        for row in range(rows):
            axes = grid[row, column]
            if row >= len(names):
                axes.set_visible(False)
                continue
            name, direction = names[row]
            values = trace.values[name][0, direction, :shown][:, units[direction]].T
            limit = _limit(trace.values[name][0, :, :shown])
            image = _draw_panel(axes, name, direction, values, units[direction], limit)
            if name in STATES:
                figure.colorbar(image, ax=axes, fraction=0.04, pad=0.015).ax.tick_params(labelsize=7)
        if names[0][0] in GATES:
            bar = figure.colorbar(image, ax=list(grid[:, column]), fraction=0.03, pad=0.015, aspect=50)
            bar.set_ticks([0, 0.5, 1], labels=["0 shut", "0.5", "1 open"], fontsize=7)
        _label_words(grid[len(names) - 1, column], trace.tokens[:shown])
    figure.suptitle(_gates_title(trace, shown, len(units[FORWARD])), fontsize=10, x=0.01, ha="left")


def _units(trace: Trace, direction: int) -> NDArray[Any]:
    """The units to draw of a direction of the first layer, chosen by their state in the order of reading."""
    states = trace.values["c" if "c" in trace.values else "h"][0]
    if direction >= len(states):
        return np.zeros(0, np.int64)
    states = states[direction][:MOST_TOKENS]
    return liveliest_units(states[::-1] if direction == REVERSE else states, UNITS)


def _limit(values: NDArray[Any]) -> float:
    """The largest magnitude, and never 0."""
    return max(float(np.abs(values).max()), 1e-3)


def _draw_panel(
    axes: Axes, name: str, direction: int, values: NDArray[Any], units: NDArray[Any], limit: float
) -> Any:
    """One heat map, units down and tokens across."""
    gate = name in GATES
    image = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap=GATE_COLOURS if gate else STATE_COLOURS,
        vmin=0 if gate else -limit,
        vmax=1 if gate else limit,
    )
    meaning = (GATES | STATES)[name]
    axes.set_title(
        f"{name}  {meaning}" + (", read from the end" if direction == REVERSE else ""), fontsize=9, loc="left"
    )
    axes.set_yticks(range(len(units)), labels=[str(unit) for unit in units], fontsize=6)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelbottom=False)
    axes.spines[:].set_visible(False)
    return image


def _label_words(axes: Axes, tokens: Sequence[str]) -> None:
    """The tokens below the lowest panel of a column."""
    words = [_word(token) for token in tokens]
    # about 45 characters of 8 points stand side by side below a panel
    level = len(words) * max(map(len, words)) <= 45
    axes.set_xticks(
        range(len(words)),
        labels=words,
        rotation=0 if level else 90,
        fontsize=8 if len(words) <= 30 else 7,
        parse_math=False,
    )
    axes.tick_params(axis="x", labelbottom=True)


def _word(token: str) -> str:
    """A token as it can stand on an axis: one line, a space made visible, never very long."""
    word = "".join(character if character.isprintable() else " " for character in token).replace(" ", "␣")
    return word if len(word) <= MOST_CHARACTERS else word[: MOST_CHARACTERS - 1] + "…"


def _sentence(tokens: Sequence[str]) -> str:
    separator = "" if max(map(len, tokens)) == 1 and len(tokens) > 1 else " "
    return textwrap.shorten(separator.join(tokens), 90, placeholder=" …")


def _gates_title(trace: Trace, shown: int, units: int) -> str:
    state = "cell" if "c" in trace.values else "hidden"
    hidden = next(iter(trace.values.values())).shape[-1]
    title = f"Inside the first layer: the {units} of {hidden} units whose {state} state moves most"
    cut = len(trace.tokens) - shown
    return title + (f"; the first {shown} of {len(trace.tokens)} tokens" if cut else "")


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
