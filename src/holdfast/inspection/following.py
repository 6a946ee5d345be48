"""Which units open when: units whose values follow a property of the steps, and how far chance would get.

Each value of each unit is correlated (Pearson) with each property over all steps of all rows. Many units and
few rows give large correlations by chance alone, the more so as both change slowly in time. So the same is
done with the property shifted in a circle within each row by a random number of steps, which keeps how slowly
it changes but not where; what the best of all units reaches there in 1 % of the draws is the noise level.

A straight trend over a row is taken out of both first, so that a unit which follows the position is not said
to follow whatever else rises or falls with it; only a property that is itself straight, such as the position,
is compared as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.canvas import GREY, TRAIN, new_figure
from holdfast.inspection.plain import plain
from holdfast.inspection.strands import Strand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANCE = 0.01
DRAWS = 200
"""The noise level is then the third largest of the draws; ten properties give none by chance, mostly."""
ROUNDING = 1e-6
Array = NDArray[Any]


class Follower(NamedTuple):
    """A unit that follows a property.

    Attributes:
        place: the strand's label.
        unit: its index.
        value: the name in the equations whose correlation is largest.
        correlation: from -1 to 1, without straight trends.
        low: the value's mean where the property is low: at its smallest number if it has two, else in the
            lower quarter of the steps; where that would be all of them, wherever it is not at its largest.
        high: the same where the property is high: where that would be all, wherever it is not at its
            smallest.
    """

    place: str
    unit: int
    value: str
    correlation: float
    low: float
    high: float


@dataclass(frozen=True)
class Following:
    """The units that follow one property.

    Attributes:
        name: of the property.
        noise: the correlation that the best of all units reaches by chance in 1 % of the draws.
        beyond: how many units lie above it.
        units: how many units were looked at.
        steps: how many steps.
        rows: of how many rows.
        followers: the units with the largest correlation, each once, the largest first; those below `noise`
            are listed too and mean nothing.
    """

    name: str
    noise: float
    beyond: int
    units: int
    steps: int
    rows: int
    followers: tuple[Follower, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        named: dict[str, Any] = plain(self)
        named["followers"] = [one._asdict() for one in self.followers]
        return named

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if not self.beyond:
            return f"No unit follows “{self.name}” more than chance would ({self.noise:.2f})"
        one = self.followers[0]
        return (
            f"{self.beyond} of {self.units} units follow “{self.name}” more than chance would "
            f"({self.noise:.2f}); best unit {one.unit} of {one.place}, whose {one.value} is {one.low:.2f} "
            f"where it is low and {one.high:.2f} where it is high (correlation {one.correlation:.2f})"
        )


def following(
    strands: Sequence[Strand],
    properties: Mapping[str, Sequence[Array]],
    *,
    most: int = 10,
    seed: int = 0,
) -> list[Following]:
    """Rank the units of a network by how well they follow each property of the steps.

    Args:
        strands: the layers and directions of a network over B rows, see `traced.strands_of`.
        properties: by name, for each of the B rows its T numbers: `step_properties`, or your own.
        most: how many units to list for each property.
        seed: of the draws.

    Returns:
        One for each property that is not the same everywhere, in the given order.

    Raises:
        InputError: a property has not one number for each step of each row, or one that is not finite.
    """
    lengths = [int(length) for length in strands[0].lengths]
    flat = {name: _flat(name, rows, lengths) for name, rows in properties.items()}
    flat = {name: values for name, values in flat.items() if np.ptp(values) > 0}
    labels, values = _columns(strands)
    generator = np.random.default_rng(seed)
    units = len({(place, unit) for place, _, unit in labels})
    found = []
    plain_values, bent_values = (_standardised(part) for part in (values, _without_trend(values, lengths)))
    for name, numbers in flat.items():
        straight = _is_straight(numbers, lengths)
        standard = plain_values if straight else bent_values
        wanted = _standardised(numbers[:, None] if straight else _without_trend(numbers[:, None], lengths))
        correlations = (wanted.T @ standard)[0]
        by_chance = np.abs(_shifted(wanted[:, 0], lengths, generator) @ standard).max(1)
        noise = float(np.quantile(by_chance, 1 - CHANCE, method="higher"))
        best = _best_of_each_unit(labels, correlations)
        beyond = sum(abs(correlations[column]) > noise for column in best)
        chosen = tuple(
            _follower(labels[column], values[:, column], numbers, correlations[column])
            for column in best[:most]
        )
        found.append(Following(name, noise, int(beyond), units, len(numbers), len(lengths), chosen))
    return found


def _flat(name: str, rows: Sequence[Array], lengths: Sequence[int]) -> Array:
    if [len(row) for row in rows] != list(lengths):
        raise InputError(
            f"the property {name!r} must have one number for each step of each row; the rows have "
            f"{list(lengths)} steps, it has {[len(row) for row in rows]} numbers"
        )
    joined = np.concatenate([np.asarray(row, np.float64) for row in rows])
    if not np.isfinite(joined).all():
        raise InputError(f"the property {name!r} holds numbers that are not finite: leave those rows out")
    return joined


def _columns(strands: Sequence[Strand]) -> tuple[list[tuple[str, str, int]], Array]:
    """Place, value and unit of each column, and all values at the N valid steps, `[N, columns]`."""
    labels, parts = [], []
    for strand in strands:
        for name in strand.values:
            steps = strand.steps(name)
            labels += [(strand.label, name, unit) for unit in range(steps.shape[1])]
            parts.append(steps)
    return labels, np.concatenate(parts, axis=1)


def _standardised(columns: Array) -> NDArray[np.float32]:
    """Mean 0 and length 1, so that products are correlations; a column that never changes becomes 0."""
    centred = columns - columns.mean(0, dtype=np.float64)
    length = np.sqrt(np.square(centred).sum(0))
    # A change by rounding only is none.
    moves = length > ROUNDING * np.sqrt(len(columns)) * (ROUNDING + np.abs(columns).max(0))
    return np.where(moves, centred / np.where(moves, length, 1), 0).astype(np.float32)


def _without_trend(columns: Array, lengths: Sequence[int]) -> Array:
    """Each row without its slope over the steps; its mean stays."""
    straightened = []
    for row in np.split(columns, np.cumsum(lengths)[:-1]):
        steps = np.arange(len(row)) - (len(row) - 1) / 2
        slope = steps @ row / (float(steps @ steps) or 1.0)
        straightened.append(row - steps[:, None] * slope)
    return np.concatenate(straightened)


def _is_straight(numbers: Array, lengths: Sequence[int]) -> bool:
    """Whether a property is a straight line in every row."""
    bent = np.split(_without_trend(numbers[:, None], lengths), np.cumsum(lengths)[:-1])
    return all(np.ptp(row) <= ROUNDING * np.ptp(numbers) for row in bent)


def _shifted(
    numbers: NDArray[np.float32], lengths: Sequence[int], generator: np.random.Generator
) -> NDArray[np.float32]:
    """The property shifted in a circle within each row, `[200, N]`."""
    parts = []
    start = 0
    for length in lengths:
        offsets = generator.integers(0, length, DRAWS)
        steps = (np.arange(length)[None] + offsets[:, None]) % length
        parts.append(numbers[start : start + length][steps])
        start += length
    return np.concatenate(parts, axis=1)


def _best_of_each_unit(labels: Sequence[tuple[str, str, int]], correlations: Array) -> list[int]:
    """Of each unit the column that follows best, the best unit first."""
    best: dict[tuple[str, int], int] = {}
    for column in np.argsort(-np.abs(correlations), kind="stable"):
        place, _, unit = labels[column]
        best.setdefault((place, unit), int(column))
    return list(best.values())


def _follower(label: tuple[str, str, int], values: Array, numbers: Array, correlation: float) -> Follower:
    place, name, unit = label
    low, high = _low_and_high(numbers)
    return Follower(
        place, unit, name, float(correlation), float(values[low].mean()), float(values[high].mean())
    )


def _low_and_high(numbers: Array) -> tuple[Array, Array]:
    kinds = np.unique(numbers)
    low, high = kinds[[0, -1]] if len(kinds) == 2 else np.quantile(numbers, (0.25, 0.75))
    # Where most numbers are one and the same, the outer quarter would be all of them.
    is_low = numbers <= low if low < kinds[-1] else numbers < kinds[-1]
    is_high = numbers >= high if high > kinds[0] else numbers > kinds[0]
    return is_low, is_high


def following_figure(found: Sequence[Following], *, most: int = 5) -> Figure:
    """The best followers of each property as bars, beside what chance reaches.

    Raises:
        InputError: there is no property to draw.
        MissingExtraError: matplotlib is not installed.
    """
    if not found:
        raise InputError("there is no property to draw: all are the same at every step")
    columns = min(len(found), 2)
    rows = math.ceil(len(found) / columns)
    figure = new_figure(4.5 * columns, (0.7 + 0.2 * most) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, one in _pairs(grid, found):
        _draw(axes, one, most)
    return figure


def _pairs(grid: Array, found: Sequence[Following]) -> Iterator[tuple[Axes, Following]]:
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    yield from zip(grid.flat, found, strict=False)


def _draw(axes: Axes, one: Following, most: int) -> None:
    shown = one.followers[:most][::-1]
    colours = [TRAIN if abs(each.correlation) > one.noise else GREY for each in shown]
    axes.barh(range(len(shown)), [each.correlation for each in shown], color=colours, height=0.7)
    for edge in (-one.noise, one.noise):
        axes.axvline(edge, color=GREY, linestyle=":", linewidth=1)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_yticks(
        range(len(shown)),
        labels=[f"{each.place}: unit {each.unit}, {each.value}" for each in shown],
        fontsize=7,
    )
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(f"{one.name}: {one.beyond} units", fontsize=9, loc="left", parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
