"""The rows of a run: one for each side of each case, in one CSV file a group."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from problem import Problem, Side
from timing import Times

import holdfast

Row = dict[str, str]
COLUMNS = (
    *("group", "case", "work", "variant", "T", "B", "I", "H", "directions", "side"),
    *("value", "low", "high", "unit", "ratio", "gflop_s", "samples", "detail"),
    *("version", "holdfast", "threads", "processor", "load", "python", "date"),
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
        "group": group,
        "case": case,
        "work": problem.work,
        "variant": problem.variant,
        **dataclasses.asdict(problem.shape),
        "side": side.name,
        "value": f"{times.median:.5g}",
        "low": f"{times.low:.5g}",
        "high": f"{times.high:.5g}",
        "unit": unit,
        "samples": times.samples,
        "version": version(side.package),
        "holdfast": holdfast.__version__,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "load": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        **{name: f"{value:.4g}" if isinstance(value, float) else value for name, value in more.items()},
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
        if not self.path(group).is_file():
            return []
        with self.path(group).open(newline="") as file:
            return list(csv.DictReader(file))

    def cases(self, group: str) -> Iterator[tuple[str, list[Row]]]:
        """Each case with its rows, in the order of the file."""
        rows = self.rows(group)
        for case in dict.fromkeys(row["case"] for row in rows):
            yield case, [row for row in rows if row["case"] == case]
