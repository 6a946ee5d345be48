"""What judges use: a promise, what is said of it, and what is read from the records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import ours
from problem import Shape
from records import Records, Row

PLAIN_LAYER = ours.LAYER.name


class Target(NamedTuple):
    """A promise.

    Attributes:
        group: whose records it is judged by.
        what: as in the table.
        goal: as in the table.
        judge: from the records, how far it is held; None where nothing was measured.
    """

    group: str
    what: str
    goal: str
    judge: Callable[[Records], Verdict | None]


class Verdict(NamedTuple):
    """What was measured, and by how many percent it misses the goal: 0 where it holds."""

    measured: str
    missed: float


def shape_of(row: Row) -> Shape:
    layers = int(row.get("layers") or 1)
    return Shape(*(int(row[name]) for name in ("T", "B", "I", "H", "directions")), layers)


def value_of(rows: Iterable[Row], side: str) -> float:
    """The median of the first row of that side; infinity without one."""
    return next((float(row["value"]) for row in rows if row["side"] == side), math.inf)


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(math.fsum(logs := [math.log(value) for value in values]) / len(logs))


def best_peer(rows: Iterable[Row]) -> tuple[float, str]:
    """The shortest median of all that is not ours, and whose it is."""
    return min((float(row["value"]), row["side"]) for row in rows if row["side"] not in ours.OURS)


class Speedup(NamedTuple):
    """How many times faster ours is, and where."""

    ratio: float
    shape: Shape


def speedups(records: Records, group: str, peer: str = "", own: str = PLAIN_LAYER) -> list[Speedup]:
    """Ours against that peer, or against the best one, in each case of the group."""
    found = []
    for _, rows in records.cases(group):
        own_value, others = value_of(rows, own), [row for row in rows if peer in ("", row["side"])]
        others = [row for row in others if row["side"] not in ours.OURS]
        if others and math.isfinite(own_value):
            found.append(Speedup(best_peer(others)[0] / own_value, shape_of(rows[0])))
    return found


def shortfall(*reached_and_goal: tuple[float, float]) -> float:
    """By how many percent the worst of what should be at least its goal misses it."""
    return max(100 * (1 - reached / goal) for reached, goal in reached_and_goal)


def excess(value: float, goal: float) -> float:
    """By how many percent what should be at most the goal lies above it."""
    return 100 * (value / goal - 1)


def lowest(found: Iterable[Speedup]) -> str:
    worst = min(found)
    return f"lowest {worst.ratio:.2f}x at {worst.shape}"


class Compared(NamedTuple):
    """A case of a variant: its time over our plain cell's, and the best loop's over it; infinity without."""

    case: str
    variant: str
    over_plain: float
    best_loop: float


def compared_variants(records: Records, group: str) -> Iterator[Compared]:
    """Each case in which ours ran."""
    for case, rows in records.cases(group):
        varied = [row for row in rows if row["variant"] != "plain"]
        mine, plain = (
            value_of(some, PLAIN_LAYER) for some in (varied, [row for row in rows if row not in varied])
        )
        if math.isfinite(mine):
            loops = [float(row["value"]) for row in varied if row["side"] not in ours.OURS]
            yield Compared(case, varied[0]["variant"], mine / plain, min(loops, default=math.inf) / mine)
