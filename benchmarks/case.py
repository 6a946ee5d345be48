"""A case: sides and their problems, checked against each other, then timed in turn."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ours import OURS
from problem import Arrays, Problem, Side, Work
from records import Row, failed_row, row
from same_numbers import computed, differences
from timing import time_in_turn


class Entry(NamedTuple):
    """A side with its problem. Those that share the same problem object must agree."""

    side: Side
    problem: Problem


class Measured(NamedTuple):
    """The rows of a case, and those of the peers that failed or computed something else."""

    rows: list[Row]
    failures: list[Row]


@dataclass(frozen=True)
class Case:
    """Sides that take turns; ratios refer to the first that runs. `entries` is called when they are due."""

    group: str
    name: str
    entries: Callable[[], Iterable[Entry]]

    def measure(self, seconds: float) -> Measured:
        """What cannot run here or computes other numbers is named on the standard error and left out."""
        ready: list[tuple[Entry, Work]] = []
        failures: list[Row] = []
        references: dict[int, Arrays] = {}
        for entry in self.entries():
            reason = unavailable(entry)
            if reason is not None:
                _say(f"{entry.side.name} is left out: {reason}")
                continue
            try:
                work = _checked(entry, references)
            except Exception as error:  # one peer's failure must not lose what the others measure
                if entry.side.name in OURS:
                    raise
                reason = f"{type(error).__name__}: {error}"
                failures.append(failed_row(self.group, self.name, entry.side, entry.problem, reason))
                _say(f"{entry.side.name} is NOT TIMED: {reason}")
                continue
            ready.append((entry, work))
        return Measured(self._timed(ready, seconds), failures)

    def _timed(self, ready: list[tuple[Entry, Work]], seconds: float) -> list[Row]:
        if not ready:
            return []
        times = time_in_turn([work for _, work in ready], seconds)
        rows = []
        for (entry, work), timed in zip(ready, times, strict=True):
            gflop = entry.problem.gflop if work.gflop is None else work.gflop
            more = {
                "ratio": timed.median / times[0].median,
                "gflop_s": 1000 * gflop / timed.median,
                "detail": work.detail,
                **({} if work.threads is None else {"threads": work.threads}),
            }
            rows.append(row(self.group, self.name, entry.side, entry.problem, timed, "ms", **more))
        return rows


def unavailable(entry: Entry) -> str | None:
    """Why a side has no part in its problem, or None."""
    absent = [name for name in entry.side.requires if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else entry.side.refuses(entry.problem)


def _checked(entry: Entry, references: dict[int, Arrays]) -> Work:
    """The work, if it computes what the first side of its problem does; random masks are left out there."""
    side, problem = entry
    work = side.build(problem.certain())
    theirs = computed(work)
    expected = references.setdefault(id(problem), theirs)
    wrong = differences(theirs, expected, side.tolerance) if theirs else []
    if wrong:
        raise ValueError("computes something else: " + "; ".join(wrong))
    return side.build(problem) if problem.random else work


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)
