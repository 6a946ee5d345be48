"""What is measured: the groups by name, and the cases of each for a size of run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from case import Measured
from groups import (
    bfloat16,
    dense,
    extremes,
    lengths,
    memory,
    own_cell,
    probing,
    product,
    ragged,
    recompute,
    scaling,
    staged,
    step,
    tracing,
    variants,
    words,
)


class Measurable(Protocol):
    """What a group yields."""

    @property
    def name(self) -> str: ...

    def measure(self, seconds: float) -> Measured: ...


SIZES = ("tiny", "quick", "full")
GROUPS: dict[str, Callable[[str], Iterable[Measurable]]] = {
    "forward": dense.forward,
    "training": dense.training,
    "step": step.cases,
    "lengths": lengths.cases,
    "variants": variants.cases,
    "staged": staged.cases,
    "own_cell": own_cell.cases,
    "bfloat16": bfloat16.cases,
    "memory": memory.cases,
    "recompute": recompute.cases,
    "product": product.cases,
    "scaling": scaling.cases,
    "tracing": tracing.cases,
    "probing": probing.cases,
    "words": words.cases,
    "ragged": ragged.cases,
    "extremes": extremes.cases,
}
