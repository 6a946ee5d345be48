"""W x in torch where x is given by indices: columns of weight_ih are looked up, in the place of a product.

`Request` says how x is given then: one index for each step and row, or entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.kernels.interface import Request


class Entries(NamedTuple):
    """What x `[T, B, I]` consists of, without padding.

    Attributes:
        columns: `[N]` int64, which column of weight_ih each entry adds.
        places: `[N]` int64, `t * B + b` of its step and row; None where each has one entry, in order.
        factors: `[N]`, by what each is multiplied; None for ones.
        leading: T, B.
    """

    columns: Tensor
    places: Tensor | None
    factors: Tensor | None
    leading: Sequence[int]


def entries_of(request: Request, valid: Tensor | None = None) -> Entries:
    """Those of a request whose x is given by indices; where `valid` `[T, B]` is false nothing is read."""
    x = request.data
    if not request.entries:
        # Any index will do in padding, where nothing reads the sum.
        columns = x if valid is None else torch.where(valid, x, 0)
        return Entries(columns.flatten(), None, None, x.shape)
    columns, *given = request.entries
    numbers = torch.arange(columns.size(0), device=x.device)
    places = torch.searchsorted(x.flatten(), numbers, right=True) - 1
    factors = given[0] if given else None
    if valid is not None:
        read = valid.flatten()[places]
        columns = torch.where(read, columns, 0)
        factors = torch.where(read, 1.0 if factors is None else factors, 0.0).to(request.like.dtype)
    return Entries(columns, places, factors, x.shape)


def product(weight: Tensor, x: Entries) -> Tensor:
    """W x `[T, B, G*H]`, with weight_ih `[G*H, I]`."""
    rows = weight.t().index_select(0, x.columns)
    if x.factors is not None:
        rows = rows * x.factors.unsqueeze(1)
    if x.places is not None:
        rows = rows.new_zeros(prod(x.leading), weight.size(0)).index_add(0, x.places, rows)
    return rows.view(*x.leading, weight.size(0))


def product_backward(weight: Tensor, x: Entries, d_product: Tensor) -> Tensor:
    """The gradient of `product` to the weight."""
    rows = d_product.flatten(0, -2)
    if x.places is not None:
        rows = rows.index_select(0, x.places)
    if x.factors is not None:
        rows = rows * x.factors.unsqueeze(1)
    return rows.new_zeros(weight.size(1), weight.size(0)).index_add(0, x.columns, rows).t()
