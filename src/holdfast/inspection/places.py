"""Where in a network: one LSTM layer, read in one direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # so that who only counts needs no torch
    from torch import Tensor

    from holdfast.inspection.subject import Subject
    from holdfast.nn.lstm import LSTM
    from holdfast.nn.trace import Trace

FORWARD, REVERSE = 0, 1


@dataclass(frozen=True)
class Place:
    """One layer and direction of a subject.

    Attributes:
        label: what to call it: `"layer 1"`, `"layer 2, from the end"`.
        module: which of `Subject.layers` it is in, counted from 0.
        layer: which layer of that module, l.
        direction: 0 forward, 1 from the end.
        number: which layer of the whole network it is, counted from 1.
    """

    label: str
    module: int
    layer: int
    direction: int
    number: int

    def of(self, traces: Sequence[Trace], name: str) -> Tensor:
        """One named value here, `[T, B, width]`, of the traces of `Subject.run`."""
        return traces[self.module][name][self.layer, self.direction]

    @property
    def last(self) -> int:
        """The index of the step that this direction reads last, in a row without padding."""
        return -1 if self.direction == FORWARD else 0

    def by_lag(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of steps, `[T, ...]`, by how many steps before its last one this direction reads them."""
        return values[::-1] if self.direction == FORWARD else values


def places(subject: Subject) -> list[Place]:
    """Every layer and direction, from the first layer up; each reads forward first."""
    return places_in(subject.layers.values())


def places_in(layers: Iterable[LSTM]) -> list[Place]:
    """The same of LSTMs that follow each other."""
    found: list[Place] = []
    count = 0
    for module, lstm in enumerate(layers):
        for layer in range(lstm.num_layers):
            count += 1
            for direction in range(lstm.directions):
                label = f"layer {count}" + (", from the end" if direction == REVERSE else "")
                found.append(Place(label, module, layer, direction, count))
    return found


def first_states(lstm: LSTM, place: Place) -> dict[str, NDArray[Any]]:
    """Where each state stands before the first step, `[width]`, if the layer has learnt it; else nothing."""
    if not lstm.learn_initial_state:
        return {}
    run = place.layer * lstm.directions + place.direction
    return {
        state: getattr(lstm, f"initial_{state}")[run].detach().numpy(force=True) for state in lstm.cell.states
    }


def median_by_lag(curves: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The median over curves of different lengths, `[longest]`: at each lag over those that reach it."""
    longest = max(map(len, curves))
    padded = np.full((len(curves), longest), np.nan)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = curve
    medians: NDArray[np.float64] = np.nanmedian(padded, axis=0)
    return medians


def lag_of_share(curve: NDArray[Any], share: float) -> int:
    """The lag within which `share` of a curve's sum lies, from lag 0 on; 0 where the sum is 0."""
    total = np.cumsum(curve, dtype=np.float64)
    return int(np.searchsorted(total, share * total[-1] * (1 - 1e-12))) if total[-1] > 0 else 0


def middle_length(readings: NDArray[np.int64]) -> int:
    """How many lags at least half of the rows reach, of how many rows reach each lag: their median length."""
    return int((readings >= readings[0] / 2).sum())
