"""How often each gate is shut or wide open, and each candidate at its limit: saturation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.inspection.canvas import GREY, SERIES, new_figure
from holdfast.inspection.plain import plain
from holdfast.inspection.strands import Strand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHUT, OPEN = 0.1, 0.9
"""Beyond these a sigmoid passes less than 0.36 of its largest slope (Karpathy, Johnson and Fei-Fei 2016)."""
BINS = 40


@dataclass(frozen=True)
class Saturation:
    """One value of one layer and direction over all steps.

    Attributes:
        place: the strand's label.
        value: the name in the equations, such as `f`.
        low, high: the limits of the histogram; of a gate 0 and 1, of a squashed value -1 and 1.
        low_share: the share of all units and steps below a tenth of the way from low to high: a shut gate.
        high_share: that above nine tenths of the way: an open gate.
        unit_low_share: the same for each unit, `[width]`.
        unit_high_share: likewise.
        counts: the histogram in equal bins from low to high, `[40]`.
        steps: how many steps were looked at.
    """

    place: str
    value: str
    low: float
    high: float
    low_share: float
    high_share: float
    unit_low_share: NDArray[np.float64]
    unit_high_share: NDArray[np.float64]
    counts: NDArray[np.int64]
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        named: dict[str, Any] = plain(self)
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        names = (
            ("shut", "wide open")
            if self.low == 0
            else (f"below {_at(self, SHUT):g}", f"above {_at(self, OPEN):g}")
        )
        return (
            f"{self.place}: {self.value} is {names[0]} in {self.low_share:.0%} and {names[1]} in "
            f"{self.high_share:.0%} of all units and steps"
        )


def saturation(strands: Sequence[Strand]) -> list[Saturation]:
    """The saturation of every value that the equations bound: gates and squashed candidates.

    Args:
        strands: the layers and directions of a network, see `traced.strands_of`.

    Returns:
        One for each such value of each strand, in order; none for a value without bounds, such as c.
    """
    return [
        _of(strand, name, *((0.0, 1.0) if name in strand.gates else (-1.0, 1.0)))
        for strand in strands
        for name in (*strand.gates, *strand.squashed)
    ]


def _of(strand: Strand, name: str, low: float, high: float) -> Saturation:
    steps = strand.steps(name)
    share = (steps - low) / (high - low)
    below, above = (share < SHUT).mean(0), (share > OPEN).mean(0)
    counts, _ = np.histogram(steps, BINS, (low, high))
    return Saturation(
        strand.label,
        name,
        low,
        high,
        float(below.mean()),
        float(above.mean()),
        below,
        above,
        counts,
        len(steps),
    )


def _at(found: Saturation, share: float) -> float:
    return found.low + share * (found.high - found.low)


def saturation_figure(found: Sequence[Saturation]) -> Figure:
    """The histograms: a row for each layer and direction, a column for each value; shut and open in colour.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    labels = list(dict.fromkeys(one.place for one in found))
    names = list(dict.fromkeys(one.value for one in found))
    figure = new_figure(max(2.0 * len(names), 4.0), 1.3 * len(labels) + 0.5)
    grid = figure.subplots(len(labels), len(names), squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for one in found:
        _draw(grid[labels.index(one.place), names.index(one.value)], one)
    for row, label in enumerate(labels):
        grid[row, 0].set_visible(True)
        grid[row, 0].set_ylabel(label, fontsize=8)
    return figure


def _draw(axes: Axes, one: Saturation) -> None:
    edges = np.linspace(one.low, one.high, BINS + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    colours = np.where(
        middles < _at(one, SHUT), SERIES[0], np.where(middles > _at(one, OPEN), SERIES[1], GREY)
    )
    axes.set_visible(True)
    axes.bar(middles, one.counts / max(one.counts.sum(), 1), edges[1] - edges[0], color=list(colours))
    axes.set_xlim(one.low, one.high)
    axes.set_xticks([one.low, (one.low + one.high) / 2, one.high])
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=7)
    low, high = ("shut", "open") if one.low == 0 else ("low", "high")
    axes.set_title(
        f"{one.value}: {one.low_share:.0%} {low}, {one.high_share:.0%} {high}", fontsize=8, parse_math=False
    )
