"""The table that the core reads in the place of weight_ih: which columns it has, and how gradients return."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from holdfast.cells import get
from holdfast.errors import InputError
from holdfast.kernels import Request, recurrence
from holdfast.kernels.table import Table

H, I = 2, 50  # noqa: E741 - the letters of holdfast.notation
TOKENS = torch.tensor([[7, 3], [7, 49], [0, 3]])


def request_of(
    x: Tensor = TOKENS, *, columnwise: bool = False, directions: int = 1, **more: object
) -> Request:
    generator = torch.Generator().manual_seed(0)

    def weight() -> Tensor:
        dense = torch.randn(4 * H, I, generator=generator)
        return dense.t().contiguous().t() if columnwise else dense

    own = [
        {"weight_ih": weight(), "weight_hh": torch.randn(4 * H, H, generator=generator)}
        for _ in range(directions)
    ]
    return Request(get("lstm"), x, [own], **more)  # type: ignore[arg-type]


def new(*shape: int) -> Tensor:
    return torch.full(shape, float("nan"))


def test_only_the_columns_that_are_read_are_copied() -> None:
    request = request_of()
    table, weight = Table.of(request), request.weights[0][0]["weight_ih"]
    assert table.rows == 4
    assert table.distinct is not None
    assert table.distinct.tolist() == [0, 3, 7, 49]
    read = table.read(weight)
    assert read.is_contiguous()
    assert torch.equal(read[table.columns], weight.t()[TOKENS.flatten()])


def test_a_weight_column_by_column_is_the_table_itself() -> None:
    request = request_of(columnwise=True)
    table, weight = Table.of(request), request.weights[0][0]["weight_ih"]
    assert (table.rows, table.distinct) == (I, None)
    assert table.read(weight).data_ptr() == weight.data_ptr()
    assert torch.equal(table.columns, TOKENS.flatten())


def test_of_few_columns_all_are_copied() -> None:
    request = request_of(torch.zeros(16 * I, 1, dtype=torch.int64))
    table, weight = Table.of(request), request.weights[0][0]["weight_ih"]
    assert (table.rows, table.distinct) == (I, None)
    assert torch.equal(table.read(weight), weight.t())
    assert table.read(weight).is_contiguous()


@pytest.mark.parametrize("columnwise", [False, True])
@pytest.mark.parametrize("steps", [3, 16 * I])
def test_the_gradient_lies_as_the_weight_does(steps: int, columnwise: bool) -> None:
    request = request_of(torch.arange(steps).remainder(I).unsqueeze(1), columnwise=columnwise)
    table, weight = Table.of(request), request.weights[0][0]["weight_ih"]
    d_table = torch.randn(table.rows, 4 * H)
    expected = torch.zeros(I, 4 * H)
    expected[: table.rows] = d_table
    found = [{"weight_ih": d_table}]
    table.give_back(found, request.weights[0], new)
    gradient = found[0]["weight_ih"]
    assert torch.equal(gradient, expected.t())
    assert gradient.stride() == weight.stride()
    assert not gradient._is_view()


def test_any_index_may_be_in_padding() -> None:
    x = torch.tensor([[7, 3], [7, 2**40], [-1, 99]])
    request = request_of(x, lengths=torch.tensor([2, 1]))
    table, weight = Table.of(request), request.weights[0][0]["weight_ih"]
    assert int(table.columns.min()) >= 0
    assert int(table.columns.max()) < table.rows
    read = table.read(weight)[table.columns].view(3, 2, 4 * H)
    assert torch.equal(read[:2, 0], weight.t()[[7, 7]])
    assert torch.equal(read[0, 1], weight[:, 3])


def test_the_entries_of_a_sparse_x() -> None:
    first, columns, values = torch.tensor([[0, 2], [2, 5]]), torch.tensor([4, 4, 9, 1, 9, 0]), torch.randn(6)
    table = Table.of(request_of(first, entries=(columns, values)))
    assert table.first is not None
    assert table.factors is not None
    assert table.first.tolist() == [0, 2, 2, 5, 6]
    assert torch.equal(table.factors, values)
    assert table.distinct is not None
    assert torch.equal(table.distinct[table.columns], columns)
    assert Table.of(request_of(first, entries=(columns,))).factors is None


def test_no_entries_at_all_are_not_taken_for_a_dense_x() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    table = Table.of(request_of(torch.zeros(2, 2, dtype=torch.int64), entries=(none, torch.zeros(0))))
    assert table.columns.data_ptr() != 0
    assert table.first is not None
    assert table.first.tolist() == [0] * 5


@pytest.mark.parametrize(
    "first", [[[1, 1], [1, 1]], [[0, 2], [1, 2]], [[0, 0], [0, 3]]], ids=["not from 0", "back", "too far"]
)
@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_entries_that_do_not_follow_each_other_are_refused(first: list[list[int]], backend: str) -> None:
    request = request_of(torch.tensor(first), entries=(torch.tensor([4, 4]),))
    message = "where the entries of each step and row begin: from 0 on, never going back, up to 2"
    with pytest.raises(InputError, match=message):
        recurrence(request.cell, request.data, request.weights, entries=request.entries, backend=backend)
    with pytest.raises(InputError, match=message):
        Table.of(request)


def test_an_index_out_of_range_is_refused_before_anything_is_read() -> None:
    for wrong in (I, -1):
        x = TOKENS.clone()
        x[1, 1] = wrong
        for columnwise in (False, True):
            with pytest.raises(InputError, match=f"index {wrong} at step 1 of row 1"):
                Table.of(request_of(x, columnwise=columnwise))
    entries = torch.tensor([4, 4, I])
    with pytest.raises(InputError, match=f"index {I} at step 1 of row 0"):
        Table.of(request_of(torch.tensor([[0, 2], [2, 3]]), entries=(entries,)))
