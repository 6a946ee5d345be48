"""The torch code that is printed from a cell, compiled once per cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.kernels import cut_points

Code = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Printed:
    """The functions of one cell; what each takes and returns: see the `torch_*source` methods of `Cell`."""

    step: Code
    step_backward: Code
    entering: Code
    entering_backward: Code


@cache
def printed(cell: Cell) -> Printed:
    """The functions of this cell."""
    return Printed(
        _compiled(cell, cell.torch_source(), cell.name),
        _compiled(cell, cell.torch_gradient_source(), f"{cell.name}_backward"),
        _compiled(cell, cell.torch_entering_source(), f"{cell.name}_entering"),
        _compiled(cell, cell.torch_entering_gradient_source(), f"{cell.name}_entering_backward"),
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
