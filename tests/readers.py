"""Small networks around the layer, and rows for them, that tests of the inspection share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from holdfast.inspection.subject import Reading, Subject
from holdfast.nn.lstm import LSTM

FEATURES = 3


class Reader(nn.Module):
    """Two modules of LSTMs, the first with two layers in both directions; the mean of the steps decides."""

    def __init__(self, outputs: int = 2, **options: Any) -> None:
        super().__init__()
        self.first = LSTM(FEATURES, 4, num_layers=2, bidirectional=True, **options)
        self.second = LSTM(8, 5, **options)
        self.head = nn.Linear(5, outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output = self.second(self.first(x, lengths=lengths)[0], lengths=lengths)[0]
        return self.head(output.sum(0) / lengths[:, None])  # type: ignore[no-any-return]


class Last(nn.Module):
    """One layer of which the last state is the score: what happens in it can be said by hand."""

    def __init__(self, hidden: int = 4, **options: Any) -> None:
        super().__init__()
        self.lstm = LSTM(FEATURES, hidden, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[1][0][-1]  # type: ignore[no-any-return]


def reader(outputs: int = 2, **options: Any) -> Subject:
    torch.manual_seed(5)
    return Subject.of(Reader(outputs, **options).double(), tuple("abcdef"[:outputs]))


def last(hidden: int = 4, **options: Any) -> Subject:
    torch.manual_seed(6)
    return Subject.of(Last(hidden, **options).double(), tuple(f"unit {k}" for k in range(hidden)))


def row(steps: int = 6, seed: int = 0, target: str | None = None) -> Reading:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, 1, FEATURES, generator=generator, dtype=torch.float64)
    return Reading(f"row {seed}", tuple(f"word{k}" for k in range(steps)), x, target)


@torch.no_grad()
def without_memory(subject: Subject) -> Subject:
    """Nothing of a step reaches the next: no recurrent weights, the forget gate shut."""
    for layer in subject.layers.values():
        for name, value in layer.named_parameters():
            if name.startswith("weight_hh"):
                value.zero_()
            if name.startswith("bias_ih"):
                value[layer.hidden_size : 2 * layer.hidden_size] = -1000.0
    return subject
