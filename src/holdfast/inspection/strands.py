"""What one layer did in one direction while it read some rows: the view that every measure takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError

Array = NDArray[Any]
ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Strand:
    """The values of one layer and direction over B rows; `traced.strands_of` gives all of a network.

    Attributes:
        label: what to call it: `"layer 1"`, `"layer 1, from the end"`.
        values: each named value of the cell, `[T, B, width]`, in time order, zero in padding.
        lengths: valid steps of each row, `[B]`.
        reverse: whether it reads from the last step to the first.
        bounds: between which numbers each value lies; one that is missing here is taken as unbounded.
        kept: by state of the cell, which share of it each step carries over, `[T, B, width]`; None where its
            equations have no such share.
        start: by state of the cell, where it stands before the first step, `[width]`; 0 where it is missing.
    """

    label: str
    values: Mapping[str, Array]
    lengths: Array
    reverse: bool = False
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    kept: Mapping[str, Array | None] = field(default_factory=dict)
    start: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (int(max(self.lengths, default=0)), len(self.lengths))
        for name, value in self.values.items():
            if value.ndim != 3 or value.shape[0] < shape[0] or value.shape[1] != shape[1]:
                raise InputError(
                    f"{self.label}: the values of {name!r} must be [T, B, width] with T >= {shape[0]} and "
                    f"B = {shape[1]} as in lengths; they are {list(value.shape)}"
                )

    @cached_property
    def valid(self) -> Array:
        """Which steps are no padding, bool `[T, B]`."""
        steps = max(len(value) for value in self.values.values())
        return np.arange(steps)[:, None] < np.asarray(self.lengths)[None]

    def steps(self, name: str) -> Array:
        """One value at all N valid steps, row after row, `[N, width]`."""
        return self.of_valid_steps(self.values[name])

    def of_valid_steps(self, values: Array) -> Array:
        """Anything `[T, B, ...]` at the N valid steps, row after row, `[N, ...]`."""
        turned: Array = values.swapaxes(0, 1)
        return turned[self.valid.T[:, : len(values)]]

    @property
    def gates(self) -> tuple[str, ...]:
        """The values that the equations keep between 0 and 1, whatever they are called."""
        return tuple(name for name in self.values if _within(self.bounds.get(name, ANYTHING), 0.0, 1.0))

    @property
    def squashed(self) -> tuple[str, ...]:
        """The values that the equations keep between -1 and 1, gates apart."""
        return tuple(
            name
            for name in self.values
            if name not in self.gates and _within(self.bounds.get(name, ANYTHING), -1.0, 1.0)
        )

    @property
    def state(self) -> str:
        """The state that carries the memory: c, or h where the cell has no other."""
        return "c" if "c" in self.values else "h"


def _within(interval: tuple[float, float], low: float, high: float) -> bool:
    return interval[0] >= low and interval[1] <= high
