"""Heat maps of what a cell did while it read one row: a panel for each value, steps across, units down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.axes import label_steps
from holdfast.inspection.canvas import GATE_COLOURS, STATE_COLOURS, new_figure
from holdfast.inspection.measures import liveliest_units
from holdfast.inspection.plain import plain
from holdfast.inspection.strands import Strand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = 12
NARROWEST = 0.1
"""How far from 0.5 the scale of a gate goes at least: smaller differences are not blown up."""
INCHES_A_STEP, LEAST_INCHES, MOST_INCHES = 0.21, 7.5, 40.0
PANEL_INCHES, LABEL_INCHES = 1.35, 0.9
MEANINGS = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "g": "candidate",
    "c": "cell state",
    "h": "hidden state",
}


@dataclass(frozen=True)
class HeatMaps:
    """What one layer and direction did while it read one row.

    Attributes:
        place: the strand's label.
        steps: the labels of the T steps.
        values: each named value of the cell, `[T, width]`, in time order.
        gates: which of them lie between 0 and 1.
        units: the liveliest units, those that are drawn, in the order of their largest change.
    """

    place: str
    steps: tuple[str, ...]
    values: dict[str, NDArray[np.float32]]
    gates: tuple[str, ...]
    units: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data, of all units; rounded to 4 places."""
        values = {name: np.round(value.astype(np.float64), 4) for name, value in self.values.items()}
        return {
            "place": self.place,
            "steps": list(self.steps),
            "gates": list(self.gates),
            "drawn_units": self.units.tolist(),
            "values": plain(values),
        }

    @property
    def alt(self) -> str:
        """What the picture shows, for those who do not see it."""
        names = ", ".join(MEANINGS.get(name, name) for name in self.values)
        return (
            f"{self.place}: heat maps of {names} over {len(self.steps)} steps, {len(self.units)} units each"
        )

    def figure(self) -> Figure:
        """A heat map of each value; gates over the range in use around 0.5, all others around 0.

        A gate that is never far from 0.5 would be one even green on a scale from 0 to 1.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        width = min(max(LEAST_INCHES, INCHES_A_STEP * len(self.steps) + 1.6), MOST_INCHES)
        figure = new_figure(width, PANEL_INCHES * len(self.values) + LABEL_INCHES)
        panels = figure.subplots(len(self.values), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, value) in zip(panels, self.values.items(), strict=True):
            image = self._draw(axes, name, value)
            bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03)
            low, high = image.get_clim()
            bar.set_ticks([low, (low + high) / 2, high], labels=_marks(low, high))
            bar.ax.tick_params(labelsize=7)
        label_steps(panels[-1], self.steps)
        return figure

    def _draw(self, axes: Axes, name: str, value: NDArray[Any]) -> Any:
        units = [unit for unit in self.units if unit < value.shape[1]]
        drawn = value[:, units].T
        gate = name in self.gates
        middle, least = (0.5, NARROWEST) if gate else (0.0, 1e-3)
        limit = max(float(np.abs(drawn - middle).max(initial=0.0)), least)
        image = axes.imshow(
            drawn,
            aspect="auto",
            interpolation="nearest",
            cmap=GATE_COLOURS if gate else STATE_COLOURS,
            vmin=middle - limit,
            vmax=middle + limit,
        )
        meaning = MEANINGS.get(name, "gate" if gate else "value")
        axes.set_title(f"{name}  {meaning}", fontsize=9, loc="left", parse_math=False)
        axes.set_yticks(range(len(units)), labels=[str(unit) for unit in units], fontsize=6)
        axes.set_ylabel("unit", fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return image


def _marks(low: float, high: float) -> list[str]:
    """The ends of a scale and its middle, as the colour bar writes them."""
    return [f"{number:.2g}" for number in (low, (low + high) / 2, high)]


def heat_maps(strands: Sequence[Strand], row: int, steps: Sequence[str], most: int = UNITS) -> list[HeatMaps]:
    """What every layer and direction did while it read one row.

    Args:
        strands: the layers and directions of a network over B rows, see `traced.strands_of`.
        row: which of the rows.
        steps: the labels of its T steps.
        most: how many units to draw: those whose state moves most.

    Raises:
        InputError: there is no such row, or it has another number of steps.
    """
    found = []
    for strand in strands:
        rows = len(strand.lengths)
        if not 0 <= row < rows or int(strand.lengths[row]) != len(steps):
            raise InputError(f"{strand.label}: row {row} of {rows} with {len(steps)} steps is not there")
        values = {name: value[: len(steps), row] for name, value in strand.values.items()}
        states = values[strand.state]
        units = liveliest_units(states[::-1] if strand.reverse else states, most)
        found.append(HeatMaps(strand.label, tuple(steps), values, strand.gates, units))
    return found
