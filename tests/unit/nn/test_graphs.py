"""What records a call as a graph: tracing, Dynamo and export, with and without lengths."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.nn.lstm import LSTM

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation

FULL, RAGGED = torch.tensor([T] * B), torch.tensor([4, 0, 6])


class Reader(nn.Module):
    """A network around the layer: tracing itself knows no keyword-only arguments."""

    def __init__(self, layer: LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output: Tensor = self.layer(x, lengths=lengths)[0]
        return output


def traced(network: nn.Module, *inputs: Tensor) -> Any:
    with warnings.catch_warnings():
        # That tracing is deprecated, and that the checks of shapes are frozen: as for torch.nn.LSTM.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return torch.jit.trace(network, inputs)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_a_layer_can_be_traced(cell: str, training: bool) -> None:
    layer = LSTM(I, H, 2, bidirectional=True, cell=cell).train(training)
    recorded = traced(layer, torch.randn(T, B, I))
    x = torch.randn(T, B, I)
    assert torch.equal(recorded(x)[0], layer(x)[0])


def test_a_trace_does_not_freeze_the_values_of_lengths() -> None:
    reader, x = Reader(LSTM(I, H)), torch.randn(T, B, I)
    assert torch.equal(traced(reader, x, FULL)(x, RAGGED), reader(x, RAGGED))


@pytest.mark.parametrize("lengths", [None, FULL, RAGGED], ids=["dense", "full", "ragged"])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_call_is_one_graph(cell: str, lengths: Tensor | None) -> None:
    torch._dynamo.reset()
    layer, x = LSTM(I, H, 2, bidirectional=True, cell=cell), torch.randn(T, B, I)
    found = torch.compile(layer, backend="eager", fullgraph=True)(x, lengths=lengths)[0]
    torch.testing.assert_close(found, layer(x, lengths=lengths)[0])
    with torch.no_grad():
        again = torch.compile(layer, backend="eager", fullgraph=True)(x, lengths=lengths)[0]
    torch.testing.assert_close(again, found)


@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_export_leaves_lengths_open(cell: str) -> None:
    layer, x = LSTM(I, H, bidirectional=True, cell=cell), torch.randn(T, B, I)
    program = torch.export.export(layer, (x,), {"lengths": FULL})
    found, _ = program.module()(x, lengths=RAGGED)
    torch.testing.assert_close(found, layer(x, lengths=RAGGED)[0])
