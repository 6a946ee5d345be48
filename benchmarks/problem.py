"""One comparison's sizes and numbers, the same for ours and every peer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Arrays = dict[str, Array]

# What makes each variant from the plain LSTM: keyword arguments of holdfast.LSTM.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "peephole": {"cell": "peephole"},
    "coupled": {"cell": "coupled"},
    "zoneout": {"zoneout": (0.1, 0.1)},
    "dropout of g": {"recurrent_dropout": 0.25},
    "dropout of h": {"recurrent_dropout": {"h": 0.25}},
}
RANDOM = ("zoneout", "dropout of g", "dropout of h")
# Those with sums over the units, or with products, within a step.
STAGED: Mapping[str, Mapping[str, Any]] = {
    "layer norm": {"cell": "layernorm"},
    "projection": {},
    "layer norm, projection": {"cell": "layernorm"},
    "full gate recurrence": {"cell": "full_gate_recurrence"},
}
KEYWORDS = {**VARIANTS, **STAGED}
# Products are of numbers with 8 binary digits, hence 2**-8 off each, and steps add their errors up.
BFLOAT16_TOLERANCE = 2**-6
# What weights are drawn around, where it is not 0. With gains of R h around 1 layer norm is chaotic: the last
# digit of a float32 grows to the whole number within 400 steps, and no two sides could be compared.
_AROUND = {"gain_ih": 1.0, "gain_hh": 0.5, "gain_c": 1.0}
# Those whose h has H / 2 numbers.
PROJECTED = ("projection", "layer norm, projection")


@dataclass(frozen=True, order=True)
class Shape:
    """T steps, B sequences, I inputs, H hidden units, layers of one or two directions."""

    T: int
    B: int
    I: int  # noqa: E741 - the letters of holdfast.notation
    H: int
    directions: int = 1
    layers: int = 1

    def __str__(self) -> str:
        layers = f", {self.layers} layers" if self.layers > 1 else ""
        both = " both ways" if self.directions == 2 else ""
        return f"{self.T} {self.B} {self.I} {self.H}{layers}{both}"


@dataclass(frozen=True)
class Problem:
    """Numbers of `shape` for a work of that kind.

    Attributes:
        work: "forward", "training" (forward, then backward to the input and every weight) or "step" (one
            step from a given state to the next state).
        variant: a key of `KEYWORDS`.
        random: whether the variant draws its masks, as in training; else it computes as at evaluation, where
            every side must give the same numbers.
        lengths: `[B]` valid steps of each row, or None.
        x: `[T, B, I]`.
        upstream: `[T, B, D*width]`, the gradient that reaches the output.
        state: h and c `[B, H]` for a step, else None.
        weights: by torch's names, gates in the order i, f, g, o; coupled f, g, o.
    """

    shape: Shape
    work: str
    variant: str = "plain"
    random: bool = False
    lengths: Array | None = None
    x: Array = field(repr=False, default_factory=lambda: np.empty(0))
    upstream: Array = field(repr=False, default_factory=lambda: np.empty(0))
    state: tuple[Array, Array] | None = field(repr=False, default=None)
    weights: Mapping[str, Array] = field(repr=False, default_factory=dict)

    @property
    def training(self) -> bool:
        return self.work == "training"

    @property
    def width(self) -> int:
        """How many numbers h has."""
        return _width(self.variant, self.shape.H)

    @property
    def keywords(self) -> dict[str, Any]:
        """What holdfast.LSTM is given besides the sizes of a plain layer."""
        projection = {"proj_size": self.width} if self.variant in PROJECTED else {}
        return {**KEYWORDS[self.variant], **projection}

    @property
    def bias(self) -> Array:
        """The sum of the two biases of the forward direction."""
        return self.weights["bias_ih_l0"] + self.weights["bias_hh_l0"]

    @property
    def gflop(self) -> float:
        """What the matrix products cost: one forward, three with the backward pass; valid steps only."""
        shape = self.shape
        steps = shape.T * shape.B if self.lengths is None else int(self.lengths.sum())
        matrices = sum(value.size for value in self.weights.values() if value.ndim == 2)
        return 2 * matrices * steps * (3 if self.training else 1) / 1e9

    def certain(self) -> Problem:
        """The same without random masks."""
        return replace(self, random=False)


def make(shape: Shape, work: str, variant: str = "plain", shortest: float | None = None) -> Problem:
    """A problem from a fixed seed; with `shortest`, rows have between that share of T and T valid steps."""
    generator = np.random.default_rng(0)
    limit = 1 / math.sqrt(shape.H)

    def uniform(*sizes: int) -> Array:
        return generator.uniform(-limit, limit, sizes).astype(np.float32)

    def normal(*sizes: int) -> Array:
        return generator.standard_normal(sizes, dtype=np.float32)

    width = _width(variant, shape.H)
    weights = {}
    for layer in range(shape.layers):
        entering = shape.directions * width if layer else shape.I
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: shape.directions]:
            for name, sizes in _sizes(variant, entering, shape.H).items():
                weights[name + suffix] = uniform(*sizes) + _AROUND.get(name, 0.0)
    lengths = None
    if shortest is not None:
        lengths = generator.integers(max(1, int(shortest * shape.T)), shape.T + 1, shape.B)
        lengths[0] = shape.T
    return Problem(
        shape,
        work,
        variant,
        random=work == "training" and variant in RANDOM,
        lengths=lengths,
        x=normal(shape.T, shape.B, shape.I),
        upstream=normal(shape.T, shape.B, shape.directions * width),
        state=(normal(shape.B, shape.H), normal(shape.B, shape.H)) if work == "step" else None,
        weights=weights,
    )


def _width(variant: str, hidden: int) -> int:
    return hidden // 2 if variant in PROJECTED else hidden


def _sizes(variant: str, entering: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Of each weight of one direction of a layer, by its name without the layer."""
    rows, width = (3 if variant == "coupled" else 4) * hidden, _width(variant, hidden)
    sizes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, entering), "weight_hh": (rows, width)}
    sizes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if variant in PROJECTED:
        sizes["weight_hr"] = (width, hidden)
    if variant in ("peephole", "full gate recurrence"):
        sizes["weight_peephole"] = (3 * hidden,)
    if variant == "full gate recurrence":
        sizes["weight_gates"] = (3 * hidden, 3 * hidden)
    if variant.startswith("layer norm"):
        sizes |= {"gain_ih": (rows,), "gain_hh": (rows,), "gain_c": (hidden,), "bias_c": (hidden,)}
    return sizes


class Work(NamedTuple):
    """A problem as one side has it, ready to be run.

    Attributes:
        call: does the whole work once; timed.
        arrays: from what a call returned, the results by name: `output`, and of a step `h` and `c`, of
            training `d_x`, `d_bias` and `d_` with the name of each other weight; None for nothing to compare.
        seconds: how long that many calls take, where something nearer than Python can say it.
        detail: what the side chose to do, for the table.
        gflop: what it costs, where that is not what the problem costs.
        threads: on how many threads it runs, where that is not what the run has.
    """

    call: Callable[[], Any]
    arrays: Callable[[Any], Arrays] | None
    seconds: Callable[[int], float] | None = None
    detail: str = ""
    gflop: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Side:
    """Ours or a peer.

    Attributes:
        name: as in the tables.
        package: the distribution whose version is recorded.
        build: the work for a problem.
        requires: modules without which it is left out.
        refuses: None, or why it has no part in a problem.
        tolerance: how far its results may lie from the first side's, of the largest number of each.
    """

    name: str
    package: str
    build: Callable[[Problem], Work]
    requires: tuple[str, ...] = ()
    refuses: Callable[[Problem], str | None] = lambda _problem: None
    tolerance: float = 1e-4
