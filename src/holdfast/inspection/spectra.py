"""The singular values of each gate's weights, and how much the recurrent weights alone would grow a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.inspection.axes import tidy
from holdfast.inspection.canvas import SERIES, new_figure
from holdfast.inspection.places import places
from holdfast.inspection.plain import plain
from holdfast.inspection.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Spectrum:
    """The weights of one gate in one layer and direction.

    Attributes:
        place: such as `"layer 1"` or `"layer 1, from the end"`.
        gate: the row block, such as `f`.
        input: singular values of its block of weight_ih, falling, `[min(H, I)]`.
        recurrent: singular values of its block of weight_hh, falling, `[min(H, P or H)]`.
        radius: the spectral radius of the recurrent block (times the projection where there is one): in a
            network without gates and squashing a state would be multiplied by it in each step.
    """

    place: str
    gate: str
    input: NDArray[np.float64]
    recurrent: NDArray[np.float64]
    radius: float

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        named: dict[str, Any] = plain(self)
        return named


def spectra(subject: Subject) -> list[Spectrum]:
    """The spectra of every gate of every layer and direction, in order."""
    found = []
    for place in places(subject):
        lstm = list(subject.layers.values())[place.module]
        weights = {
            name: value.detach().double().numpy(force=True)
            for name, value in lstm.weights()[place.layer][place.direction].items()
        }
        found += [
            Spectrum(place.label, gate, *spectrum(weights, index, lstm.hidden_size))
            for index, gate in enumerate(lstm.cell.gates)
        ]
    return found


def spectrum(weights: Weights, gate: int, hidden: int) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Of the gate-th row block: the singular values of weight_ih and of weight_hh, and the spectral radius.

    Args:
        weights: `weight_ih` `[G*H, I]`, `weight_hh` `[G*H, P or H]` and with a projection `weight_hr`
            `[P, H]`, by name.
        gate: which block.
        hidden: H.
    """
    rows = slice(gate * hidden, (gate + 1) * hidden)
    entering, again = weights["weight_ih"][rows], weights["weight_hh"][rows]
    square = again @ weights["weight_hr"] if "weight_hr" in weights else again
    return (
        np.linalg.svd(entering, compute_uv=False),
        np.linalg.svd(again, compute_uv=False),
        float(np.abs(np.linalg.eigvals(square)).max()),
    )


def spectra_figure(found: Sequence[Spectrum]) -> Figure:
    """Singular values of input and recurrent weights, a row for each layer and direction, a line per gate.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    labels = list(dict.fromkeys(one.place for one in found))
    figure = new_figure(7.0, 2.0 * len(labels) + 0.4)
    grid = figure.subplots(len(labels), 2, squeeze=False, sharey="row")
    for row, label in enumerate(labels):
        for index, one in enumerate(each for each in found if each.place == label):
            colour = SERIES[index % len(SERIES)]
            grid[row, 0].plot(one.input, color=colour, label=one.gate)
            grid[row, 1].plot(one.recurrent, color=colour, label=f"{one.gate}, radius {one.radius:.2f}")
        for axes, title in zip(grid[row], (f"{label}: input weights", "recurrent weights"), strict=True):
            axes.set_ylim(bottom=0)
            tidy(axes, up="singular value", title=title)
            axes.legend(frameon=False, fontsize=7)
    return figure
