"""How far back the network remembers, by changing one input at a time and looking at what it says at the end.

Gradients tell of infinitely small changes, this of real ones: a step is replaced, everything after it is read
as it was, and the last state and the scores are compared with those of the row as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import InputError
from holdfast.inspection.axes import count_steps, mark_middle, tidy
from holdfast.inspection.canvas import SERIES, new_figure
from holdfast.inspection.places import lag_of_share, median_by_lag, middle_length, places
from holdfast.inspection.subject import Reading, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = NDArray[np.float64]
Replacement = Literal["mean", "other"]
SCORES = "scores"
MASS = 0.9
MOST_NUMBERS = 1 << 22
"""Numbers of the input in one pass, `T * B * I`: 16 MiB of float32."""


@dataclass(frozen=True)
class Perturbation:
    """How much the end changes when the input of one step is replaced, by that step's lag.

    Attributes:
        curves: by place (`"layer 1"`, `"layer 1, from the end"`: of the last state there, the lag counted
            back from the last step that this direction reads) and for `"scores"` (counted from the end):
            the size of the change as a share of that when all inputs are replaced, the median over the
            readings that are long enough, `[lags]`.
        readings: how many readings reach each lag, `[lags]`.
        memory: by the same names: for each reading the lag within which 90 % of the sum of its curve lies.
        replaced_by: `"mean"`, the mean input of all readings, or `"other"`, inputs drawn from other readings.
    """

    curves: Mapping[str, Curve]
    readings: NDArray[np.int64]
    memory: Mapping[str, NDArray[np.int64]]
    replaced_by: Replacement

    def remembered(self, name: str) -> float:
        """The median over the readings of the lag within which 90 % of the changes lie."""
        return float(np.median(self.memory[name]))

    @property
    def sentence(self) -> str:
        """The finding in words."""
        return (
            f"{MASS:.0%} of what a single changed input changes in the answer lies within "
            f"{self.remembered(SCORES):g} steps of the end (half of the rows have "
            f"{middle_length(self.readings)} or more)"
        )

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return {
            "replaced_by": self.replaced_by,
            "readings": self.readings.tolist(),
            "mass": MASS,
            "ends": {
                name: {
                    "change": curve.tolist(),
                    "memory_steps": self.memory[name].tolist(),
                    "memory_steps_median": self.remembered(name),
                }
                for name, curve in self.curves.items()
            },
        }

    def figure(self) -> Figure:
        """The change over the lag, one line for the scores and one for each layer and direction.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure = new_figure(8.0, 3.0)
        axes = figure.subplots()
        for index, (name, curve) in enumerate(self.curves.items()):
            label = "what the network says" if name == SCORES else f"last state of {name}"
            width = 2.4 if name == SCORES else 1.2
            axes.plot(curve, color=SERIES[index % len(SERIES)], linewidth=width, label=label)
        axes.set_ylim(bottom=0)
        mark_middle(axes, self.readings)
        count_steps(axes)
        tidy(
            axes,
            across="steps between the replaced input and the end",
            up="change, of that when\nall inputs are replaced",
        )
        axes.legend(frameon=False, fontsize=8)
        return figure


def perturbation(
    subject: Subject, readings: Sequence[Reading], replaced_by: Replacement = "mean", seed: int = 0
) -> Perturbation:
    """Measure how far back a changed input still changes the end.

    Args:
        subject: the network.
        readings: rows to measure on; each costs one pass over T + 2 copies of itself.
        replaced_by: `"mean"`: the mean of all readings' inputs, which stands for "nothing in particular";
            `"other"`: for each step an input drawn from the other readings, something that does occur.
        seed: of those draws.

    Raises:
        InputError: no readings; `"other"` with fewer than two.
    """
    _check(readings, replaced_by)
    generator = np.random.default_rng(seed)
    found: dict[str, list[Curve]] = {}
    for index, reading in enumerate(readings):
        substitute = _substitute(readings, index, replaced_by, generator)
        for name, curve in changes(subject, reading, substitute).items():
            found.setdefault(name, []).append(curve)
    steps = np.array([len(reading.steps) for reading in readings])
    counts = (steps[:, None] > np.arange(steps.max())).sum(0)
    curves = {name: median_by_lag(own) for name, own in found.items()}
    memory = {name: np.array([lag_of_share(curve, MASS) for curve in own]) for name, own in found.items()}
    return Perturbation(curves, counts, memory, replaced_by)


def changes(subject: Subject, reading: Reading, substitute: Tensor) -> dict[str, Curve]:
    """By the names of `Perturbation.curves`: the change of the end for each replaced step, by lag, `[T]`.

    Args:
        subject: the network.
        reading: the row.
        substitute: what each step is replaced by, `[T, I]`.
    """
    x = reading.x[:, 0]
    steps, rows = len(x), list(places(subject))
    # Row t has step t replaced, row T every step, row T + 1 none.
    replaced = torch.cat([torch.eye(steps), torch.ones(1, steps), torch.zeros(1, steps)]).bool().to(x.device)
    parts = []
    for chosen in replaced.split(max(1, MOST_NUMBERS // x.numel())):
        batch = torch.where(chosen.T[:, :, None], substitute[:, None], x[:, None])
        with torch.no_grad():
            run = subject.run(batch, trace=True)
        parts.append([*(place.of(run.traces, "h")[place.last] for place in rows), run.scores])
    ends = [torch.cat(own).double() for own in zip(*parts, strict=True)]
    names = [place.label for place in rows] + [SCORES]
    curves = {name: _relative(end) for name, end in zip(names, ends, strict=True)}
    lagged = {place.label: place.by_lag(curves[place.label]) for place in rows}
    return lagged | {SCORES: curves[SCORES][::-1]}


def _relative(ends: Tensor) -> Curve:
    """The distances of ends, `[T + 2, width]`, from the last one, as shares of that of the one before it."""
    distances = (ends - ends[-1]).norm(dim=1)
    whole = distances[-2].clamp(min=torch.finfo(torch.float32).tiny)
    shares: Curve = (distances[:-2] / whole).numpy(force=True)
    return shares


def _check(readings: Sequence[Reading], replaced_by: str) -> None:
    if replaced_by not in ("mean", "other"):
        raise InputError(f"replaced_by is {replaced_by!r}; it must be 'mean' or 'other'")
    if len(readings) < (2 if replaced_by == "other" else 1):
        raise InputError(
            f"got {len(readings)} readings; replacing by {replaced_by} inputs needs at least "
            f"{'two' if replaced_by == 'other' else 'one'}"
        )


def _substitute(
    readings: Sequence[Reading], index: int, replaced_by: Replacement, generator: np.random.Generator
) -> Tensor:
    """What each step of one reading is replaced by, `[T, I]`."""
    steps = len(readings[index].x)
    if replaced_by == "mean":
        return mean_input(readings).expand(steps, -1)
    pool = torch.cat([reading.x[:, 0] for other, reading in enumerate(readings) if other != index])
    return pool[torch.from_numpy(generator.integers(len(pool), size=steps))]


def mean_input(readings: Sequence[Reading]) -> Tensor:
    """The mean of the inputs of all steps of all readings, `[I]`."""
    return torch.cat([reading.x[:, 0] for reading in readings]).mean(0)
