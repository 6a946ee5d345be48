"""Times of single steps that others have published; they were taken on another processor."""

from __future__ import annotations

from dataclasses import dataclass

from case import Measured
from problem import Problem, Shape, Side
from records import row
from timing import Times

# github.com/jatinchowdhury18/RTNeural-compare, commit 5672f91, results/: RTNeural's fastest build (static
# sizes, Eigen) and ONNX Runtime 1.15.1, seconds for 480,000 steps with I = H; one thread, float32.
SOURCE = "RTNeural-compare 5672f91, Intel i7-8700B"
STEPS = 480_000
SECONDS = {
    "RTNeural, published": {16: 0.1538, 32: 0.4244, 64: 1.5479},
    "ONNX Runtime, published": {16: 7.13, 32: 7.75, 64: 8.86},
}


@dataclass(frozen=True)
class Published:
    """Stands among the cases of a group; nothing is measured."""

    group: str
    name: str = "published"

    def measure(self, seconds: float) -> Measured:
        rows = []
        for name, by_units in SECONDS.items():
            for units, total in by_units.items():
                side = Side(name, "", lambda _: NotImplemented)
                step_ms = 1000 * total / STEPS
                times = Times(step_ms, step_ms, step_ms, STEPS)
                problem = Problem(Shape(1, 1, units, units), "step")
                found = row(self.group, self.name, side, problem, times, "ms", detail=SOURCE)
                rows.append(found | {"processor": "Intel i7-8700B", "threads": "1", "load": ""})
        return Measured(rows, [])
