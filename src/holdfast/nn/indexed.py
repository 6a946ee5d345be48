"""An x without dense features: indices, which stand for one-hot vectors, or a sparse tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.kernels import States
from holdfast.nn.modified import refuse_recorded

_INDICES = (torch.int64, torch.int32)


def axes(x: Tensor, most: int) -> int:
    """The axes of x with that of its features, which indices do without; with `most` of them it has all."""
    return x.dim() + 1 if x.dtype in _INDICES and x.dim() < most else x.dim()


def as_coo(x: Tensor) -> Tensor:
    """A sparse x as one of `torch.sparse_coo`, all of whose axes are sparse; any other as it is.

    Raises:
        InputError: it needs a gradient, has dense axes, or the call is recorded.
    """
    if x.layout == torch.strided:
        return x
    refuse_recorded(
        "a sparse x is for eager calls, since graphs hold no sparse tensors: give indices, or x.to_dense()"
    )
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError("no gradient reaches a sparse x: give x.detach(), or a dense one (x.to_dense())")
    # Compressed layouts count the steps of each row, and none of them can be transposed as batch_first needs.
    sparse: Tensor = x.to_sparse_coo()
    if sparse.dense_dim() > 0:
        raise InputError(
            f"a sparse x must have indices for all of its axes, got {sparse.sparse_dim()} sparse and "
            f"{sparse.dense_dim()} dense ones: give x.to_dense(), or that made sparse anew"
        )
    return sparse


def as_given(x: Tensor) -> tuple[Tensor, States]:
    """x `[T, B, ...]` and its entries, as `holdfast.kernels.Request` has them."""
    if x.layout != torch.strided:
        return _entries(x)
    return (x.to(torch.int64) if x.dtype in _INDICES else x), ()


def _entries(x: Tensor) -> tuple[Tensor, States]:
    """Where those of each step and row begin, `[T, B]`; which of the I inputs each is, and their values."""
    steps, batch, _ = x.shape
    times, rows, columns = x._indices()
    places, values = times * batch + rows, x._values().detach()
    # Which tensors of torch.sparse_coo are not asked for unless their maker wishes.
    outside = (times < 0) | (times >= steps) | (rows < 0) | (rows >= batch)
    if outside.any():
        raise InputError(f"x has an entry outside of its shape {list(x.shape)}")
    if not x.is_coalesced():
        places, order = torch.sort(places, stable=True)
        columns, values = columns[order], values[order]
    first = torch.searchsorted(places, torch.arange(steps * batch, device=x.device))
    return first.view(steps, batch), (columns.contiguous(), values.contiguous())
