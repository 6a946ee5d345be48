"""Autograd around the operators: what is wanted is computed, and only that."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.kernels import recurrence
from holdfast.kernels.printed import _known
from holdfast.nn.lstm import LSTM

T, B, I, H = 5, 3, 4, 6  # noqa: E741 - the letters of holdfast.notation
KINDS = ("x", "weights", "state")


def inputs(cell: str) -> tuple[LSTM, dict[str, list[Tensor]]]:
    layer = LSTM(I, H, 2, bidirectional=True, cell=cell, dtype=torch.float64)
    state = [torch.randn(4, B, H, dtype=torch.float64) for _ in layer.cell.states]
    return layer, {
        "x": [torch.randn(T, B, I, dtype=torch.float64)],
        "weights": [weight for layer in layer.weights() for own in layer for weight in own.values()],
        "state": state,
    }


def gradients(
    cell: str, layer: LSTM, given: dict[str, list[Tensor]], wanted: tuple[str, ...]
) -> list[Tensor]:
    for kind, tensors in given.items():
        for tensor in tensors:
            tensor.requires_grad_(kind in wanted)
    result = recurrence(
        layer.cell, given["x"][0], layer.weights(), tuple(given["state"]), backend="reference"
    )
    output = result.output
    assert isinstance(output, Tensor)
    leaves = [tensor for kind in wanted for tensor in given[kind]]
    return list(torch.autograd.grad(output.square().sum() + result.state[0].sum(), leaves))


SOME = [some for count in (1, 2, 3) for some in itertools.combinations(KINDS, count)]


@pytest.mark.parametrize("cell", ["peephole", "layernorm"])
@pytest.mark.parametrize("wanted", SOME, ids="-".join)
def test_a_part_of_the_gradients_is_the_same_as_in_all(cell: str, wanted: tuple[str, ...]) -> None:
    layer, given = inputs(cell)
    everything = gradients(cell, layer, given, KINDS)
    by_kind, start = {}, 0
    for kind in KINDS:
        by_kind[kind] = everything[start : start + len(given[kind])]
        start += len(given[kind])
    expected = [gradient for kind in wanted for gradient in by_kind[kind]]
    for found, own in zip(gradients(cell, layer, given, wanted), expected, strict=True):
        assert torch.equal(found, own)


class Calls(TorchDispatchMode):
    """The names of PyTorch's operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[object, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.append((str(func), args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("wanted", [("x",), ("weights",)], ids="-".join)
def test_the_operator_is_told_what_is_wanted(wanted: tuple[str, ...]) -> None:
    layer, given = inputs("peephole")
    with Calls() as calls:
        gradients("peephole", layer, given, wanted)
    ((_, arguments),) = [call for call in calls.seen if call[0].startswith("holdfast.backward")]
    assert arguments[-2:] == ("x" in wanted, "weights" in wanted)


def test_the_same_cell_with_other_numbers_prints_no_new_code() -> None:
    layer = LSTM(I, H, zoneout=0.1)
    x = torch.randn(T, B, I)
    layer(x)[0].sum().backward()  # type: ignore[union-attr, no-untyped-call]
    before = len(_known)
    for share in torch.linspace(0.1, 0.5, 100).tolist():
        layer.zoneout = share
        layer(x)[0].sum().backward()  # type: ignore[union-attr, no-untyped-call]
    assert len(_known) == before
    assert len(layer.cell._variants) < 100
