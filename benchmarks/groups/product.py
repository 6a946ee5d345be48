"""What share of the fastest float32 matrix product the layer reaches, product and layer in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import ours
import torch
from case import Case, Entry
from problem import Problem, Shape, Side, Work, make

SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 32, 128, 256),),
    "full": (
        Shape(100, 32, 128, 256),
        Shape(100, 64, 256, 512),
        Shape(200, 128, 64, 128),
        Shape(784, 128, 1, 128),
        Shape(50, 64, 640, 640),
        Shape(35, 32, 650, 650),
    ),
}
# Rows, depth, columns.
PRODUCTS = {
    "tiny": ((16, 16, 16),),
    "quick": ((1024, 1024, 1024), (3072, 512, 2048)),
    "full": ((1024, 1024, 1024), (2048, 1024, 2048), (3072, 512, 2048), (3840, 384, 1536)),
}


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for work in ("training", "forward"):
            yield Case("product", f"{work} {shape}", _entries(shape, work, size))


def _entries(shape: Shape, work: str, size: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work)
        yield Entry(ours.LAYER, problem)
        for sizes in PRODUCTS[size]:
            for build in (by_mm, by_onednn):
                yield Entry(Side("product", "torch", partial(build, sizes)), problem)

    return entries


def _matrices(sizes: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor, float]:
    rows, depth, columns = sizes
    return torch.randn(rows, depth), torch.randn(depth, columns), 2e-9 * rows * depth * columns


def by_mm(sizes: tuple[int, int, int], _problem: Problem) -> Work:
    """torch.mm: MKL or OpenBLAS, whatever torch was built with."""
    left, right, gflop = _matrices(sizes)
    out = torch.empty(left.size(0), right.size(1))
    return Work(lambda: torch.mm(left, right, out=out), None, detail=f"torch.mm {_named(sizes)}", gflop=gflop)


def by_onednn(sizes: tuple[int, int, int], _problem: Problem) -> Work:
    """oneDNN's inner product on weights that were packed before."""
    left, right, gflop = _matrices(sizes)
    packed = torch.ops.mkldnn._reorder_linear_weight(right.t().contiguous(), left.size(0))

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")

    return Work(call, None, detail=f"oneDNN {_named(sizes)}", gflop=gflop)


def _named(sizes: tuple[int, int, int]) -> str:
    return " x ".join(map(str, sizes))
