"""How every diagram looks: its frame, its grid, and the labels of steps below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.inspection.canvas import GREY
from holdfast.inspection.places import middle_length

MOST_LABELS = 60
MOST_CHARACTERS = 16


def tidy(axes: Any, *, across: str = "", up: str = "", title: str = "") -> None:
    """Two spines, a faint grid, small type; and what stands along the axes.

    Args:
        axes: matplotlib's.
        across: what the horizontal axis counts.
        up: what the vertical axis measures.
        title: what the panel shows.
    """
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    axes.set_xlabel(across, fontsize=8, parse_math=False)
    axes.set_ylabel(up, fontsize=8, parse_math=False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def label_steps(axes: Any, steps: Sequence[str]) -> None:
    """The labels of the steps below a diagram; where there are many, their numbers instead."""
    if len(steps) <= MOST_LABELS:
        axes.set_xticks(
            range(len(steps)), labels=list(map(shortened, steps)), rotation=90, fontsize=8, parse_math=False
        )
    else:
        count_steps(axes)


def count_steps(axes: Any) -> None:
    """Whole numbers on the horizontal axis."""
    axes.xaxis.get_major_locator().set_params(integer=True)


def mark_middle(axes: Any, readings: NDArray[np.int64]) -> None:
    """A dotted line where half of the rows have ended; the curves right of it are of the long ones alone.

    Args:
        axes: matplotlib's, with lags across.
        readings: how many rows reach each lag, `[lags]`.
    """
    middle = middle_length(readings)
    if middle < len(readings):
        axes.axvline(middle - 0.5, color=GREY, linestyle=":", label="half of the rows are shorter")


def zero_line(axes: Any) -> None:
    """A horizontal line at 0."""
    axes.axhline(0, color=GREY, linewidth=0.8)


def shortened(step: str) -> str:
    """A label as it can stand on an axis: one line, a space made visible, never very long."""
    word = "".join(character if character.isprintable() else " " for character in step).replace(" ", "␣")
    return word if len(word) <= MOST_CHARACTERS else word[: MOST_CHARACTERS - 1] + "…"
