"""How far back the last state looks, by gradients: what vanishes, what explodes, and what is remembered.

With h_T the state of a layer after the last step that a direction reads, the Jacobians d h_T / d h_t and
d h_T / d c_t say what becomes of a small change of an earlier state (Bengio et al. 1994, Pascanu et al.
2013), and d h_T / d x_t what becomes of one of an earlier input. They are exact: the row is read once for
each unit, as one batch, and one backward pass gives each unit's gradient at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import InputError
from holdfast.inspection.axes import count_steps, mark_middle, tidy
from holdfast.inspection.canvas import GREY, SERIES, new_figure
from holdfast.inspection.places import Place, lag_of_share, median_by_lag, middle_length, places
from holdfast.inspection.subject import Reading, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = NDArray[np.float64]
STATES, INPUT = ("h", "c"), "x"
MASS = 0.9
EXACT_UNITS = 256
"""Up to so many units each has its own row; beyond, so many random combinations of all estimate the norm."""
MOST_NUMBERS = 1 << 22
"""Numbers of one named value in one pass, `T * B * H`: 16 MiB of float32."""
FLOOR = 1e-30
"""Of a curve's largest value; what is smaller is rounding and subnormals, and has no slope."""


@dataclass(frozen=True)
class Reach:
    """How strongly the last state depends on what came before, by the number of steps between (the lag).

    Each curve is the median over the readings that are long enough of the Jacobian's root mean square
    singular value (its Frobenius norm by the root of the number of units): 1 is "kept as it was".

    Attributes:
        curves: by place (`"layer 1"`, `"layer 1, from the end"`), then by what the derivative is taken to
            (`h`, `c` where the cell has it, `x`), `[lags]`.
        readings: how many readings reach each lag, `[lags]`.
        memory: by place: for each reading the lag within which 90 % of the sum of its curve of x lies, `[N]`.
    """

    curves: Mapping[str, Mapping[str, Curve]]
    readings: NDArray[np.int64]
    memory: Mapping[str, NDArray[np.int64]]

    def carried(self, place: str) -> str:
        """The state that carries the past there: c where the cell has it, else h."""
        return STATES[1] if STATES[1] in self.curves[place] else STATES[0]

    def factor(self, place: str, state: str | None = None) -> float:
        """By what a change of a state is multiplied per step, on the average: below 1 it vanishes.

        The slope of the logarithm of the curve over the lags that at least half of the readings reach; of the
        state that carries the past where none is named. Not a number for rows of one step.
        """
        curve = self.curves[place][state or self.carried(place)]
        return per_step(curve[: middle_length(self.readings)])

    def remembered(self, place: str) -> float:
        """The median over the readings of the lag within which 90 % of the dependence on the input lies."""
        return float(np.median(self.memory[place]))

    @property
    def longest(self) -> int:
        """The steps of the longest reading."""
        return len(self.readings)

    @property
    def sentences(self) -> list[str]:
        """The finding in words, one for each layer and direction."""
        typical, told = middle_length(self.readings), []
        for place in self.curves:
            factor = self.factor(place)
            text = (
                f"{place}: {MASS:.0%} of what moves the last state lies within "
                f"{self.remembered(place):g} steps (half of the rows have {typical} or more)"
            )
            if np.isfinite(factor):
                text += f"; a change of {self.carried(place)} is multiplied by {factor:.2f} per step"
            told.append(text)
        return told

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return {
            "readings": self.readings.tolist(),
            "mass": MASS,
            "places": {
                place: {
                    "norms": {name: curve.tolist() for name, curve in curves.items()},
                    "factor_per_step": _finite(self.factor(place)),
                    "memory_steps": self.memory[place].tolist(),
                    "memory_steps_median": self.remembered(place),
                }
                for place, curves in self.curves.items()
            },
        }

    def figure(self, beside: Mapping[str, Reach] | None = None, name: str = "this network") -> Figure:
        """The curves over the lag, one panel per place and state; see `reach_figure`."""
        return reach_figure({name: self, **(beside or {})})


def reach(subject: Subject, readings: Sequence[Reading]) -> Reach:
    """Measure how far back each layer and direction looks.

    Args:
        subject: the network.
        readings: rows to measure on, one at least; each costs two passes per layer and direction over as many
            copies of itself as the layer has units. Where a network reads long rows in windows, its gradient
            ends at the border of the last window, and so does this measure.

    Raises:
        InputError: no readings.
    """
    if not readings:
        raise InputError("there is no reading to measure on")
    curves: dict[str, dict[str, Curve]] = {}
    memory: dict[str, NDArray[np.int64]] = {}
    for place in places(subject):
        norms = [jacobian_norms(subject, reading, place) for reading in readings]
        curves[place.label] = {name: median_by_lag([norm[name] for norm in norms]) for name in norms[0]}
        memory[place.label] = np.array([lag_of_share(norm[INPUT], MASS) for norm in norms])
    steps = np.array([len(reading.steps) for reading in readings])
    counts = (steps[:, None] > np.arange(steps.max())).sum(0)
    return Reach(curves, counts, memory)


def jacobian_norms(subject: Subject, reading: Reading, place: Place) -> dict[str, Curve]:
    """The root mean square singular value of d h_T / d v_t, by lag, for v one of `h`, `c`, `x`; each `[T]`.

    h_T is the state of the layer and direction after the last step that it reads. `c` is there where the cell
    has such a state; its effect counts with that of the h that is made of it in the same step.
    """
    width = list(subject.layers.values())[place.module].width
    squares: dict[str, Tensor] = {}
    most = max(1, MOST_NUMBERS // (len(reading.x) * width))
    for directions in _directions(width, most, reading.x):
        for name, square in _squares(subject, reading, place, directions).items():
            squares[name] = squares.get(name, torch.zeros_like(square)) + square
    return {name: place.by_lag((total / width).sqrt().numpy(force=True)) for name, total in squares.items()}


def per_step(curve: Curve) -> float:
    """By what a curve is multiplied from one lag to the next: least squares through its logarithm.

    Not a number for fewer than two values above the floor of rounding.
    """
    lags = np.flatnonzero(curve > FLOOR * curve.max(initial=0.0))
    if len(lags) < 2:
        return float("nan")
    return float(np.exp(np.polyfit(lags, np.log(curve[lags]), 1)[0]))


def reach_figure(networks: Mapping[str, Reach], places: Sequence[str] | None = None) -> Figure:
    """Curves of several networks over the lag, on a logarithmic scale, one row of panels per place.

    Args:
        networks: by name, such as the trained one and the same with other cells before training; the first
            is drawn thick.
        places: which to draw; None: all of the first network.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    first = next(iter(networks.values()))
    rows = list(first.curves) if places is None else list(places)
    figure = new_figure(8.5, 2.4 * len(rows) + 0.5)
    panels = figure.subplots(len(rows), 2, squeeze=False, sharex=True, sharey="col")
    for (state_axes, input_axes), place in zip(panels, rows, strict=True):
        for index, (name, found) in enumerate(networks.items()):
            style = {"color": SERIES[index % len(SERIES)], "linewidth": 1.2 if index else 2.4}
            curves = found.curves[place]
            state_axes.plot(_positive(curves[found.carried(place)]), label=name, **style)
            input_axes.plot(_positive(curves[INPUT]), label=name, **style)
        state_axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
        across = "steps before the last" if place == rows[-1] else ""
        tidy(state_axes, across=across, up="sensitivity", title=f"{place}: to its own state")
        tidy(input_axes, across=across, title=f"{place}: to the network's input")
    for axes in panels.flat:
        axes.set_yscale("log")
        count_steps(axes)
        mark_middle(axes, first.readings)
    panels[0, -1].legend(frameon=False, fontsize=8)
    return figure


def _finite(number: float) -> float | None:
    """As JSON has it, which knows no "not a number"."""
    return number if np.isfinite(number) else None


def _positive(curve: Curve) -> Curve:
    """Without what a logarithmic scale cannot show."""
    return np.where(curve > 0, curve, np.nan)


def _directions(width: int, most: int, like: Tensor) -> Iterator[Tensor]:
    """What the last state is multiplied with, `[B, width]`, at most B = `most` at a time."""
    if width <= EXACT_UNITS:
        rows = torch.eye(width, dtype=like.dtype, device=like.device)
    else:
        # Hutchinson 1990: the mean square of random sums is the sum of squares
        generator = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, (EXACT_UNITS, width), generator=generator) * 2 - 1
        rows = signs.to(like) / EXACT_UNITS**0.5
    yield from rows.split(most)


def _squares(subject: Subject, reading: Reading, place: Place, directions: Tensor) -> dict[str, Tensor]:
    """For each step the sum of squared derivatives of `directions` x h_T, `[T]`, to h, c and x."""
    x = reading.x.detach().repeat(1, len(directions), 1).requires_grad_()
    traces = subject.run(x, trace="gradients").traces
    (place.of(traces, "h")[place.last] * directions).sum().backward()
    gradients = {INPUT: x.grad}
    own = traces[place.module].gradients
    gradients |= {name: own[name][place.layer, place.direction] for name in STATES if name in own}
    return {
        name: value.double().square().sum((1, 2)) for name, value in gradients.items() if value is not None
    }
