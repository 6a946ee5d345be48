"""For how many steps each unit holds what it took in, by the share of its state that each step keeps.

Where a step keeps the share f of the state, what was taken in fades as f to the power of the steps: to 1/e
after -1 / log f steps, the time constant (Tallec and Ollivier 2018 choose the first f by it). Over steps with
different f the product counts, hence the mean of the logarithm here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.inspection.axes import tidy
from holdfast.inspection.canvas import GREY, SERIES, new_figure
from holdfast.inspection.plain import plain
from holdfast.inspection.strands import Strand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
NEVER = 1e-12
"""A share as good as 0: its time constant is below 0.04 steps."""


@dataclass(frozen=True)
class TimeConstants:
    """How long the units of one layer and direction remember.

    Attributes:
        place: the strand's label.
        state: which state: `c`, or `h` where the cell has no other.
        note: what the equations say of it: "" where the share changes from step to step, else that it is
            always 1 (nothing is forgotten), always 0 (each step overwrites) or not defined.
        mean_share: of each unit, the mean share that a step keeps (the mean forget gate), `[width]`; empty
            where it is not defined.
        steps: of each unit the time constant in steps, -1 / mean log share, `[width]`; infinite where all is
            kept, 0 where nothing is.
        longest_steps: of each unit the time constant at its most open steps: that of the upper tenth of the
            shares, `[width]`. A unit that forgets at full stops only has a far longer one here.
        quantiles: of `steps` over the units, at 0, 10, 25, 50, 75, 90 and 100 %.
        row_steps: how many steps the rows have at most: a longer time constant was not tried out.
    """

    place: str
    state: str
    note: str
    mean_share: NDArray[np.float64]
    steps: NDArray[np.float64]
    longest_steps: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    row_steps: int

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data; an infinite time constant is None."""
        named: dict[str, Any] = plain(self)
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.note:
            return f"{self.place}: {self.note}"
        best = int(self.steps.argmax())
        return (
            f"{self.place}: half of the units keep less than 1/e of what they took in after "
            f"{self.quantiles[3]:.1f} steps; unit {best} holds longest, {_shown(self.steps[best])} steps"
        )


def time_constants(strands: Sequence[Strand]) -> list[TimeConstants]:
    """The time constants of every unit, layer by layer and direction by direction.

    Args:
        strands: the layers and directions of a network, see `traced.strands_of`.
    """
    return [_of(strand) for strand in strands]


def _of(strand: Strand) -> TimeConstants:
    kept = strand.kept.get(strand.state)
    longest = int(max(strand.lengths))
    if kept is None:
        nothing = np.zeros(0)
        note = f"the equations give no share of {strand.state} that a step keeps: units are mixed in it"
        return TimeConstants(strand.label, strand.state, note, nothing, nothing, nothing, nothing, longest)
    share = strand.of_valid_steps(kept).astype(np.float64)
    steps = time_constant(share)
    return TimeConstants(
        strand.label,
        strand.state,
        _note(share, strand.state),
        share.mean(0),
        steps,
        time_constant(np.quantile(share, 0.9, axis=0)[None]),
        _quantiles(steps),
        longest,
    )


def time_constant(share: NDArray[Any]) -> NDArray[np.float64]:
    """-1 / mean(log share) over the steps, `[width]` of shares `[N, width]`.

    It is infinite where all shares are 1 or more, and 0 where one is exactly 0, which empties the unit.
    """
    with np.errstate(divide="ignore"):
        rate = -np.log(np.abs(share.astype(np.float64))).mean(0)
        return np.where(rate > 0, 1 / np.where(rate > 0, rate, 1), np.inf)


def _quantiles(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without interpolation, which infinities do not stand."""
    return np.quantile(steps, QUANTILES, method="nearest")


def _note(share: NDArray[Any], state: str) -> str:
    if (share >= 1).all():
        return f"{state} only adds up: the equations keep all of it at every step, and nothing is forgotten"
    if (np.abs(share) <= NEVER).all():
        return (
            f"each step overwrites {state}: the equations carry nothing over directly, and what is "
            "remembered goes through the recurrent weights"
        )
    return ""


def _shown(steps: float) -> str:
    return f"{steps:,.0f}" if steps >= 10 else f"{steps:.1f}"


def time_constants_figure(found: Sequence[TimeConstants]) -> Figure:
    """The units of each layer and direction in the order of their time constant, on a logarithmic scale.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(6.5, 3.2)
    axes = figure.subplots()
    for index, one in enumerate(found):
        finite = np.sort(one.steps[np.isfinite(one.steps) & (one.steps > 0)])
        if len(finite):
            _draw(axes, one.place, finite, SERIES[index % len(SERIES)])
    longest = max(one.row_steps for one in found)
    axes.axhline(longest, color=GREY, linestyle=":", linewidth=1, label="the longest row")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    tidy(axes, across="share of the units, from the most forgetful", up="time constant in steps")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, label: str, steps: NDArray[np.float64], colour: str) -> None:
    axes.plot(np.arange(1, len(steps) + 1) / len(steps), steps, color=colour, label=label)
