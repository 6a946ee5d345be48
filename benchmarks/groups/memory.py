"""The peak memory of training, each side in a process of its own.

`python -m groups.memory SIDE CALLS T B I H directions layers` is that process: it imports, trains a tiny
layer, then counts how far the resident memory rises above that, at most, while the given one is made and
trained so many times. It prints that rise and the most that the process ever had, in megabytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import ours
import peers
import torch
from case import Measured
from problem import Shape, Side, make
from records import failed_row, row
from timing import Times

SHAPES = {
    "tiny": (Shape(50, 32, 64, 64),),
    "quick": (Shape(100, 32, 128, 256),),
    "full": (
        Shape(100, 16, 64, 128),
        Shape(100, 32, 128, 256),
        Shape(100, 64, 256, 512),
        Shape(200, 128, 64, 128),
        Shape(784, 128, 1, 128),
        Shape(35, 20, 650, 650),
        Shape(35, 20, 1500, 1500),
    ),
}
RUNS = {"tiny": 1, "quick": 3, "full": 5}
SIDES = {side.name: side for side in (ours.LAYER, ours.RECOMPUTED, peers.TORCH)}
FOLDER = Path(__file__).resolve().parents[1]


class Megabytes(NamedTuple):
    """By how many the resident memory rose, at most, and how many there ever were."""

    rise: float
    peak: float


@dataclass(frozen=True)
class Memory:
    """A case whose value is megabytes.

    Attributes:
        group, name: of the case.
        shape: of the layer.
        sides: who is measured; ratios refer to the first.
        runs: how many processes each gets.
        calls: how often each process trains.
        whole: whether the value is all that the process had, instead of the rise.
    """

    group: str
    name: str
    shape: Shape
    sides: tuple[Side, ...]
    runs: int
    calls: int = 3
    whole: bool = False

    def measure(self, seconds: float) -> Measured:
        problem = make(self.shape, "training")
        if not Path("/proc/self/status").is_file():
            reason = "only measured where there is /proc"
            failed = [failed_row(self.group, self.name, side, problem, reason) for side in self.sides]
            return Measured([], failed)
        found: dict[str, list[Megabytes]] = {side.name: [] for side in self.sides}
        for _ in range(self.runs):
            for side in self.sides:
                found[side.name].append(self._in_a_process(side))
        rows = []
        for side in self.sides:
            values = [both.peak if self.whole else both.rise for both in found[side.name]]
            times = Times(median(values), min(values), max(values), len(values))
            first = float(rows[0]["value"]) if rows else times.median
            detail = f"rose by {median(both.rise for both in found[side.name]):.0f} MB" if self.whole else ""
            more = {"ratio": times.median / first, "detail": detail}
            rows.append(row(self.group, self.name, side, problem, times, "MB", **more))
        return Measured(rows, [])

    def _in_a_process(self, side: Side) -> Megabytes:
        sizes = map(str, (self.calls, *astuple(self.shape)))
        command = [sys.executable, "-m", "groups.memory", side.name, *sizes]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run(
            command, cwd=FOLDER, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return Megabytes(*map(float, done.stdout.split()))


def cases(size: str) -> Iterator[Memory]:
    for shape in SHAPES[size]:
        yield Memory("memory", f"memory {shape}", shape, (ours.LAYER, peers.TORCH), RUNS[size])


def _status(field: str) -> float:
    """A line of /proc/self/status, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(field)


def measured(name: str, calls: int, shape: Shape) -> Megabytes:
    """Of this process, while the layer is made and trained so often."""
    side = SIDES[name]
    side.build(make(Shape(2, 2, 2, 2), "training")).call()
    before, peak_before = _status("VmRSS"), _status("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    work = side.build(make(shape, "training"))
    for _ in range(calls):
        work.call()
    peak = _status("VmHWM")
    return Megabytes(peak - before, max(peak, peak_before))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    given_calls, *given_sizes = map(int, sys.argv[2:])
    print(*measured(sys.argv[1], given_calls, Shape(*given_sizes)))
