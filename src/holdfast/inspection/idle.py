"""Which units do nothing: the network is asked again with units silenced, one by one and together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.inspection.axes import tidy
from holdfast.inspection.canvas import GREY, SERIES, new_figure
from holdfast.inspection.places import Place, first_states, places
from holdfast.inspection.plain import plain
from holdfast.inspection.subject import Reading, Subject, batch_of
from holdfast.nn.equations import blocks_that_read_h
from holdfast.nn.lstm import LSTM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LITTLE = 0.01
"""Of the typical size of the scores: what changes them by less is not seen in an answer."""
BAND = 0.01
"""Of h: a unit whose output stays within so narrow a band, the start included, does not move."""


@dataclass(frozen=True)
class UnitEffects:
    """What the units of one layer and direction do.

    A unit is silenced by taking its h as 0 everywhere: on the way out and on the way back into the layer.

    Attributes:
        place: such as `"layer 1"` or `"layer 1, from the end"`.
        reach: of each number of h the distance between its lowest and highest value over all rows, the
            one before the first step included, which is 0 or learnt, `[P or H]`.
        effect: of each unit how much the scores change without it, as a share of `size`, `[H]`; NaN where a
            unit was not tried, and in stacked layers that add their input (`residual`).
        flips: of each unit in how many rows another answer wins without it, `[H]`.
        size: the root mean square of the scores around their mean in each row; of a single score, around 0.
        ranking: the units from the one with the least effect on, `[H]`.
        idle: those that do nothing: as many from the start of the ranking as can be silenced all at once
            while the scores change by less than 1 % of their size and no answer flips.
        rows: how many rows were read.
        other_rows: on how many other rows those that do nothing were silenced together once more.
        other_effect: how much the scores of these change, as a share of their size; NaN where there are none.
        other_flips: in how many of them another answer wins.
    """

    place: str
    reach: NDArray[np.float64]
    effect: NDArray[np.float64]
    flips: NDArray[np.int64]
    size: float
    ranking: NDArray[np.int64]
    idle: tuple[int, ...]
    rows: int
    other_rows: int = 0
    other_effect: float = math.nan
    other_flips: int = 0

    @property
    def still(self) -> list[int]:
        """The units whose h does not move: all of it lies within 0.01."""
        return [int(unit) for unit in np.flatnonzero(self.reach < BAND)]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        return {**plain(self), "still": self.still}

    @property
    def sentence(self) -> str:
        """The finding in words."""
        idle, units = self.idle, int(np.isfinite(self.effect).sum())
        if not units:
            return f"{self.place}: the effect of single units is not measured in layers that add their input"
        if not idle:
            least = int(self.ranking[0])
            return (
                f"{self.place}: each of the {units} units has a part in the answers to {self.rows} rows; the "
                f"least is that of unit {least} ({self.effect[least]:.1%} of the scores' size)"
            )
        named = ", ".join(map(str, idle[:8])) + (", …" if len(idle) > 8 else "")
        return (
            f"{self.place}: {len(idle)} of {units} units do nothing in {self.rows} rows: silencing all of "
            f"them at once changes the scores by less than {LITTLE:.0%} of their size and no answer"
            f"{self._elsewhere} (units {named})"
        )

    @property
    def _elsewhere(self) -> str:
        """What became of it on rows by which they were not chosen."""
        if not self.other_rows:
            return ""
        return f"; in {self.other_rows} other rows by {self.other_effect:.1%} and {self.other_flips} answers"


@torch.no_grad()
def unit_effects(
    subject: Subject,
    readings: Sequence[Reading],
    most_units: int | None = None,
    others: Sequence[Reading] = (),
) -> list[UnitEffects]:
    """Silence each unit of a network in turn and see what changes.

    It reads all rows once per unit, so some tens of rows are plenty.

    Args:
        subject: the network.
        readings: B rows.
        most_units: how many units of each layer and direction to try, evenly spaced; None for all.
        others: rows to silence the idle ones on once more, as they were chosen by the first ones.

    Returns:
        One for each layer and direction, in order.

    Raises:
        InputError: there is no reading.
    """
    x, lengths = batch_of(readings)
    whole = subject.run(x, lengths, trace=True)
    asked = _Asked(subject, x, lengths, whole.scores)
    again = _asked(subject, others) if others else None
    found = []
    for place in places(subject):
        layer = _layer(subject, place)
        h = place.of(whole.traces, "h").numpy(force=True)[np.arange(len(x))[:, None] < lengths.numpy()]
        start = first_states(layer, place).get("h", 0.0)
        reach = np.maximum(h.max(0), start) - np.minimum(h.min(0), start)
        if _adds_its_input(layer):
            found.append(_unknown(place, reach, asked.size, len(readings)))
            continue
        effect, flips = np.full(layer.hidden_size, np.nan), np.zeros(layer.hidden_size, np.int64)
        for unit in _tried(layer.hidden_size, most_units):
            effect[unit], flips[unit] = asked.without(place, [unit])
        order = np.argsort(effect, kind="stable")  # what was not tried comes last
        tried = order[: int(np.isfinite(effect).sum())]
        idle = tuple(tried[: _longest_without_effect(asked, place, tried)].tolist())
        elsewhere = (len(others), *again.without(place, idle)) if again and idle else ()
        found.append(
            UnitEffects(place.label, reach, effect, flips, asked.size, order, idle, len(readings), *elsewhere)
        )
    return found


def _tried(units: int, most: int | None) -> list[int]:
    if most is None or most >= units:
        return list(range(units))
    return sorted({int(unit) for unit in np.linspace(0, units - 1, most)})


@dataclass(frozen=True)
class _Asked:
    """A network and what it says of a batch as it is."""

    subject: Subject
    x: Tensor
    lengths: Tensor
    scores: Tensor

    @cached_property
    def size(self) -> float:
        return max(float(_centred(self.scores).square().mean().sqrt()), 1e-30)

    def without(self, place: Place, units: Sequence[int]) -> tuple[float, int]:
        """By how much of their size the scores change with some units silenced, and how many answers flip."""
        with silenced(self.subject, place, units):
            changed = self.subject.run(self.x, self.lengths).scores
        effect = (_centred(changed) - _centred(self.scores)).square().mean().sqrt()
        return float(effect) / self.size, int((_answers(changed) != _answers(self.scores)).sum())


def _asked(subject: Subject, readings: Sequence[Reading]) -> _Asked:
    x, lengths = batch_of(readings)
    return _Asked(subject, x, lengths, subject.run(x, lengths).scores)


def _longest_without_effect(asked: _Asked, place: Place, order: NDArray[np.int64]) -> int:
    """How many units from the start can go together, by halving; more together change more, or nearly so."""
    none, some = 0, len(order) + 1
    while some - none > 1:
        tried = (none + some) // 2
        effect, flips = asked.without(place, order[:tried].tolist())
        if effect < LITTLE and not flips:
            none = tried
        else:
            some = tried
    return none


def _layer(subject: Subject, place: Place) -> LSTM:
    return list(subject.layers.values())[place.module]


def _adds_its_input(layer: LSTM) -> bool:
    return layer.residual and layer.num_layers > 1 and not layer.proj_size


def _unknown(place: Place, reach: NDArray[Any], size: float, rows: int) -> UnitEffects:
    nan, units = np.full(len(reach), np.nan), len(reach)
    return UnitEffects(place.label, reach, nan, np.zeros(units, int), size, np.arange(units), (), rows)


def _centred(scores: Tensor) -> Tensor:
    """What all scores of a row share changes no answer."""
    return scores if scores.shape[1] == 1 else scores - scores.mean(1, keepdim=True)


def _answers(scores: Tensor) -> Tensor:
    return scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(1)


@contextmanager
def silenced(subject: Subject, place: Place, units: Sequence[int]) -> Iterator[None]:
    """Within the block the h of some units is 0; the network is the same afterwards.

    Args:
        subject: the network.
        place: the layer and direction.
        units: their indices, from 0 to H - 1.

    Raises:
        InputError: there is no such unit, or the layer adds its input to its output.
    """
    layer = _layer(subject, place)
    chosen = list(units)
    wrong = [unit for unit in chosen if not 0 <= unit < layer.hidden_size]
    if wrong:
        raise InputError(f"{place.label} has the units 0 to {layer.hidden_size - 1}; got {wrong[0]}")
    if _adds_its_input(layer):
        raise InputError(f"{place.label} adds its input to its output: its units cannot be silenced alone")
    weights = _silent_weights(layer, place, chosen)
    outputs = [place.direction * layer.hidden_size + unit for unit in chosen]

    def ask(_layer: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return inputs, {**named, "weights": weights}

    def clear(_layer: nn.Module, _inputs: Any, result: Any) -> Any:
        output, state = result[:2]
        output, h = output.clone(), state[0].clone()
        h[place.layer * layer.directions + place.direction, ..., chosen] = 0.0
        if place.layer == layer.num_layers - 1:
            output[..., outputs] = 0.0
        parts = (h, *state[1:])
        return output, type(state)(*parts) if hasattr(state, "_fields") else parts, *result[2:]

    with ExitStack() as stack:
        stack.callback(layer.register_forward_pre_hook(ask, with_kwargs=True).remove)
        if not layer.proj_size:
            stack.callback(layer.register_forward_hook(clear).remove)
        yield


def _silent_weights(layer: LSTM, place: Place, units: list[int]) -> list[list[dict[str, Tensor]]]:
    """The parameters with zeros wherever they would read the h of these units, here and in the next layer."""
    weights = [[dict(own) for own in directions] for directions in layer.weights()]
    own, hidden = weights[place.layer][place.direction], layer.hidden_size
    if layer.proj_size:  # all of h comes through it
        own["weight_hr"] = _without_columns(own["weight_hr"], units)
        return weights
    own["weight_hh"] = _without_columns(own["weight_hh"], units)
    for parameter in layer.cell.parameters:
        blocks = blocks_that_read_h(layer, parameter.name)
        if blocks:
            columns = [block * hidden + unit for block in blocks for unit in units]
            own[parameter.name] = _without_columns(own[parameter.name], columns)
    if place.layer + 1 < layer.num_layers:
        entering = [place.direction * hidden + unit for unit in units]
        for above in weights[place.layer + 1]:
            above["weight_ih"] = _without_columns(above["weight_ih"], entering)
    return weights


def _without_columns(matrix: Tensor, columns: list[int]) -> Tensor:
    changed = matrix.detach().clone()
    changed[:, columns] = 0.0
    return changed


def unit_effects_figure(found: Sequence[UnitEffects]) -> Figure:
    """The units of each layer and direction by their effect, from the least on, on a logarithmic scale.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(6.5, 3.2)
    axes = figure.subplots()
    for index, one in enumerate(found):
        effects = one.effect[one.ranking]
        effects = np.maximum(effects[np.isfinite(effects)], LITTLE / 100)
        shares = np.arange(1, len(effects) + 1) / len(effects)
        axes.plot(
            shares, effects, color=SERIES[index % len(SERIES)], label=f"{one.place}: {len(one.idle)} idle"
        )
    axes.axhline(LITTLE, color=GREY, linestyle=":", linewidth=1, label="1 % of the scores' size")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:.4g}")
    tidy(axes, across="share of the units, from the least important", up="change of the scores without it")
    axes.legend(frameon=False, fontsize=8)
    return figure
