"""Which step turned the memory: how far each step moves the state of a layer, and which unit most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.axes import label_steps, tidy
from holdfast.inspection.canvas import SERIES, new_figure
from holdfast.inspection.plain import plain
from holdfast.inspection.strands import Strand

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Turns:
    """How far each step of one row moves the state of one layer and direction.

    Attributes:
        place: the strand's label.
        state: which state: `c`, or `h` where the cell has no other.
        steps: the labels of the T steps.
        change: the Euclidean distance between the state after each step and the one before it, in the order
            in which the direction reads, `[T]`; before the first it is 0, or what the layer has learnt.
        unit: at each step the unit that moves most, `[T]`.
        before: that unit's state before the step, `[T]`.
        after: and after it, `[T]`.
        ranking: the steps from the one that moves the state most on, `[T]`.
    """

    place: str
    state: str
    steps: tuple[str, ...]
    change: NDArray[np.float64]
    unit: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    ranking: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        named: dict[str, Any] = plain(self)
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        step = int(self.ranking[0])
        typical = float(np.median(self.change))
        times = f", {self.change[step] / typical:.1f} times the median step" if typical > 0 else ""
        return (
            f"{self.place}: “{self.steps[step]}” (step {step + 1}) moved {self.state} most{times}; above all "
            f"unit {self.unit[step]}, from {self.before[step]:.2f} to {self.after[step]:.2f}"
        )


def turns(strands: Sequence[Strand], row: int, steps: Sequence[str]) -> list[Turns]:
    """What each step of one row does to the state of each layer and direction.

    Args:
        strands: the layers and directions of a network over B rows, see `traced.strands_of`.
        row: which of the rows.
        steps: the labels of its T steps.

    Raises:
        InputError: there is no such row, or it has another number of steps.
    """
    lengths = strands[0].lengths
    if not 0 <= row < len(lengths) or lengths[row] != len(steps):
        there = (
            f"it has {lengths[row]} steps" if 0 <= row < len(lengths) else f"there are {len(lengths)} rows"
        )
        raise InputError(f"row {row} with {len(steps)} steps was asked for; {there}")
    return [_of(strand, row, tuple(steps)) for strand in strands]


def _of(strand: Strand, row: int, steps: tuple[str, ...]) -> Turns:
    order = slice(None, None, -1) if strand.reverse else slice(None)
    after = strand.values[strand.state][: len(steps), row][order].astype(np.float64)
    start = np.zeros_like(after[:1]) + strand.start.get(strand.state, 0.0)
    before = np.concatenate([start, after[:-1]])
    after, before = after[order], before[order]
    moved = np.abs(after - before)
    change, unit = np.sqrt(np.square(moved).sum(1)), moved.argmax(1)
    at = np.arange(len(steps)), unit
    ranking = np.argsort(-change, kind="stable")
    return Turns(strand.label, strand.state, steps, change, unit, before[at], after[at], ranking)


def turns_figure(found: Sequence[Turns]) -> Figure:
    """How far each step moves the state, a row of bars for each layer and direction.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(max(4.0, min(0.28 * len(found[0].steps) + 1.5, 10.0)), 1.1 * len(found) + 1.1)
    grid = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
    for index, (axes, one) in enumerate(zip(grid, found, strict=True)):
        axes.bar(range(len(one.steps)), one.change, color=SERIES[index % len(SERIES)])
        tidy(axes, title=f"{one.place}: change of {one.state}")
    label_steps(grid[-1], found[0].steps)
    return figure
