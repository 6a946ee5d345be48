"""torch.jit.trace records a layer, with and without lengths; test_torch_way_*.py has the rest."""

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
