"""The peak memory of training, each side in a process of its own.

`python -m groups.memory SIDE T B I H` is that process: it imports, trains a tiny layer, then counts how far
the resident memory rises above that, at most, while the given one is made and trained three times.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import ours
import peers
import torch
from case import Measured
from problem import Shape, make
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
SIDES = {side.name: side for side in (ours.LAYER, peers.TORCH)}
FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Memory:
    """A case whose value is megabytes."""

    group: str
    shape: Shape
    runs: int

    @property
    def name(self) -> str:
        return f"memory {self.shape}"

    def measure(self, seconds: float) -> Measured:
        problem = make(self.shape, "training")
        if not Path("/proc/self/status").is_file():
            reason = "only measured where there is /proc"
            return Measured(
                [], [failed_row(self.group, self.name, side, problem, reason) for side in SIDES.values()]
            )
        found: dict[str, list[float]] = {name: [] for name in SIDES}
        for _ in range(self.runs):
            for name in SIDES:
                found[name].append(self._in_a_process(name))
        first = median(next(iter(found.values())))
        rows = []
        for name, values in found.items():
            times = Times(median(values), min(values), max(values), len(values))
            ratio = times.median / first
            rows.append(row(self.group, self.name, SIDES[name], problem, times, "MB", ratio=ratio))
        return Measured(rows, [])

    def _in_a_process(self, name: str) -> float:
        shape = self.shape
        command = [
            sys.executable,
            "-m",
            "groups.memory",
            name,
            *map(str, (shape.T, shape.B, shape.I, shape.H)),
        ]
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        environment = os.environ | threads
        done = subprocess.run(
            command, cwd=FOLDER, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return float(done.stdout)


def cases(size: str) -> Iterator[Memory]:
    for shape in SHAPES[size]:
        yield Memory("memory", shape, RUNS[size])


def _status(field: str) -> float:
    """A line of /proc/self/status, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def rise(name: str, shape: Shape) -> float:
    """By how many megabytes the resident memory rises, at most."""
    side = SIDES[name]
    side.build(make(Shape(2, 2, 2, 2), "training")).call()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    work = side.build(make(shape, "training"))
    for _ in range(3):
        work.call()
    return _status("VmHWM") - before


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    print(rise(sys.argv[1], Shape(*map(int, sys.argv[2:]))))
