"""The rows of a run: one for each side of each case, in one CSV file a group.

A side that failed or computed something else has a row without a value, whose detail says why.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from problem import Problem, Side
from timing import Times

import holdfast

Row = dict[str, str]
ROOT = Path(__file__).resolve().parents[1]
# What is measured, and what measures it.
CODE = ("src", "csrc", "CMakeLists.txt", "pyproject.toml", "benchmarks", ":!benchmarks/results", ":!*.md")
COLUMNS = (
    *("group", "case", "work", "variant", "T", "B", "I", "H", "directions", "layers", "side"),
    *("value", "low", "high", "unit", "ratio", "gflop_s", "samples", "detail"),
    *("version", "holdfast", "commit", "threads", "processor", "load", "python", "date"),
)


@cache
def processor() -> str:
    """The processor's name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def commit() -> str:
    """The commit of the code, `-dirty` where it was changed since; empty where git does not tell.

    It is asked once: what was imported stays, whatever is checked out meanwhile.
    """
    try:
        name = _git("rev-parse", "--short=12", "HEAD").strip()
        changed = _git("status", "--porcelain", "--", *CODE).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{name}-dirty" if changed else name


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def threads_of(row: Row) -> str:
    """On what it was measured."""
    return f"{row['threads']} {'thread' if row['threads'] == '1' else 'threads'} of an {row['processor']}"


def version(package: str) -> str:
    if package == "holdfast":
        return holdfast.__version__
    if not package:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def row(group: str, case: str, side: Side, problem: Problem, times: Times, unit: str, **more: Any) -> Row:
    """One side's result; `more` are further columns."""
    values = {
        "value": f"{times.median:.5g}",
        "low": f"{times.low:.5g}",
        "high": f"{times.high:.5g}",
        "unit": unit,
        "samples": times.samples,
        **{name: f"{value:.4g}" if isinstance(value, float) else value for name, value in more.items()},
    }
    return _with_columns(group, case, side, problem, values)


def failed_row(group: str, case: str, side: Side, problem: Problem, reason: str) -> Row:
    """A side that was to be measured and was not."""
    return _with_columns(group, case, side, problem, {"detail": " ".join(reason.split())})


def _with_columns(group: str, case: str, side: Side, problem: Problem, own: Mapping[str, object]) -> Row:
    values = {
        "group": group,
        "case": case,
        "work": problem.work,
        "variant": problem.variant,
        **dataclasses.asdict(problem.shape),
        "side": side.name,
        "version": version(side.package),
        "holdfast": holdfast.__version__,
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "load": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        **own,
    }
    return {name: str(values.get(name, "")) for name in COLUMNS}


class Records:
    """The CSV files of a folder, one for each group; rows reach the file as soon as they are there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, group: str) -> Path:
        return self.folder / f"{group}.csv"

    def start(self, group: str) -> None:
        """An empty file for the group, with its header."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path(group).open("w", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writeheader()

    def add(self, group: str, rows: Iterable[Row]) -> None:
        if not self.path(group).is_file():
            self.start(group)
        with self.path(group).open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    def rows(self, group: str) -> list[Row]:
        """What was measured, or nothing."""
        return [row for row in self._all(group) if row["value"]]

    def failed(self, group: str) -> list[Row]:
        """The rows of those that failed or computed something else."""
        return [row for row in self._all(group) if not row["value"]]

    def commits(self, group: str) -> set[str]:
        """Of which code the rows are."""
        return {row.get("commit", "") for row in self._all(group)}

    def _all(self, group: str) -> list[Row]:
        if not self.path(group).is_file():
            return []
        with self.path(group).open(newline="") as file:
            return list(csv.DictReader(file))

    def cases(self, group: str) -> Iterator[tuple[str, list[Row]]]:
        """Each case with its rows, in the order of the file."""
        rows = self.rows(group)
        for case in dict.fromkeys(row["case"] for row in rows):
            yield case, [row for row in rows if row["case"] == case]
