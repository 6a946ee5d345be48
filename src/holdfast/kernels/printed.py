"""The torch code that is printed from a cell, compiled once for all cells that differ by numbers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.kernels import cut_points

Code = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Printed:
    """The functions of one cell; what each takes and returns: see the `torch_*source` methods of `Cell`.

    Attributes:
        gradients: the names of what `step_backward` returns.
        entering_gradients: the names of what `entering_backward` returns.
    """

    step: Code
    step_backward: Code
    gradients: tuple[str, ...]
    entering: Code
    entering_backward: Code
    entering_gradients: tuple[str, ...]


_known: dict[tuple[str, str], Printed] = {}


@lru_cache(maxsize=256)
def printed(cell: Cell) -> Printed:
    """The functions of this cell."""
    # The step decides about its derivative: nothing is derived again for another probability or limit.
    sources = cell.torch_source(), cell.torch_entering_source()
    if sources not in _known:
        _known[sources] = _printed(cell, *sources)
    return _known[sources]


def _printed(cell: Cell, step: str, entering: str) -> Printed:
    return Printed(
        _compiled(cell, step, cell.name),
        _compiled(cell, cell.torch_gradient_source(), f"{cell.name}_backward"),
        tuple(cell.gradients),
        _compiled(cell, entering, f"{cell.name}_entering"),
        _compiled(cell, cell.torch_entering_gradient_source(), f"{cell.name}_entering_backward"),
        tuple(cell.entering_gradients),
    )


def _compiled(cell: Cell, source: str, name: str) -> Code:
    names: dict[str, object] = {
        "torch": torch,
        "normalise": cut_points.normalise,
        "normalise_backward": cut_points.normalise_backward,
        "product": cut_points.product,
        "product_backward": cut_points.product_backward,
        "outer": cut_points.outer,
    }
    exec(compile(source, f"<cell {cell.spec}>", "exec"), names)
    code: Code = names[name]  # type: ignore[assignment]
    return code
