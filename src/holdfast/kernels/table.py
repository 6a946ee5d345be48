"""What the compiled core reads in the place of x and weight_ih where x is given by indices: a table.

Each of its rows is a column of weight_ih. Where that lies column by column, it is the table itself, and the
core's gradient of the table that of the weight. Else the columns that the call reads are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.kernels.indices import check_indices
from holdfast.kernels.interface import Request

# So many times more entries than inputs: then all columns are copied, without asking which ones are read.
_MANY = 16


class Table(NamedTuple):
    """The table of a call, the same rows in each direction.

    Attributes:
        rows: U, how many it has.
        columns: int64 `[N]`, dense: the row of each entry; in padding any number.
        first: int64 `[T * B + 1]`: which entry is the first of each step and row; None where each has one.
        factors: `[N]`, or None for ones.
        distinct: int64 `[U]`, the column of weight_ih that each row is; None where it is all of them.
    """

    rows: int
    columns: Tensor
    first: Tensor | None
    factors: Tensor | None
    distinct: Tensor | None

    @classmethod
    def of(cls, request: Request) -> Table:
        """That of a request whose x is given by indices.

        Raises:
            InputError: an index that is read is out of range.
        """
        check_indices(request)
        inputs = request.weights[0][0]["weight_ih"].size(1)
        columns, first, factors = request.data, None, None
        if request.entries:
            columns, *given = request.entries
            first = torch.cat([request.data.flatten(), request.data.new_tensor([columns.size(0)])])
            factors = given[0].contiguous() if given else None
        columns = columns.flatten()
        if columns.size(0) == 0:  # the core would take x for a dense one
            columns, factors = columns.new_zeros(1), None
        whole = all(request.columnwise(d) for d in range(request.directions))
        if whole or inputs * _MANY <= columns.size(0):
            return cls(inputs, columns.contiguous(), first, factors, None)
        # In padding there may be any index; one that is in range does no harm.
        distinct, own = torch.unique(columns.clamp(0, inputs - 1), return_inverse=True)
        return cls(distinct.size(0), own, first, factors, distinct)

    def read(self, weight: Tensor) -> Tensor:
        """The table `[U, G*H]` of a weight_ih `[G*H, I]`."""
        rows = weight.t()
        return rows.contiguous() if self.distinct is None else rows.index_select(0, self.distinct)

    def give_back(
        self,
        gradients: Sequence[dict[str, Tensor]],
        weights: Sequence[Mapping[str, Tensor]],
        new: Callable[..., Tensor],
    ) -> None:
        """Put the gradients of weight_ih in the place of those of tables; `new` makes a tensor of a shape."""
        for found, own in zip(gradients, weights, strict=True):
            found["weight_ih"] = self._gradient(found["weight_ih"], own["weight_ih"], new)

    def _gradient(self, d_table: Tensor, weight: Tensor, new: Callable[..., Tensor]) -> Tensor:
        if weight.t().is_contiguous():
            rows = d_table
            if self.distinct is not None:
                rows = new(weight.size(1), weight.size(0)).zero_().index_copy_(0, self.distinct, d_table)
            return _transposed(rows)
        gradient = new(*weight.shape)
        if self.distinct is None:
            return gradient.copy_(d_table.t())
        return gradient.zero_().index_copy_(1, self.distinct, d_table.t())


def _transposed(rows: Tensor) -> Tensor:
    """The same memory the other way round, as a tensor that is no view of another."""
    return rows.new_empty(0).set_(rows.untyped_storage(), 0, rows.shape[::-1], rows.stride()[::-1])
