"""A plain training script gives the same losses, step by step, when the layer in it is swapped for ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from holdfast.nn.lstm import LSTM

Layer = Callable[..., nn.Module]


class Tagger(nn.Module):
    """What people write: embed, LSTM, linear."""

    def __init__(self, make_layer: Layer) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.lstm = make_layer(8, 12, num_layers=2, batch_first=True, dropout=0.3, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.lstm(packed)
        padded, _ = pad_packed_sequence(output, batch_first=True)
        scores: torch.Tensor = self.head(padded)
        return scores


def train_tagger(make_layer: Layer) -> list[float]:
    torch.manual_seed(0)
    model = Tagger(make_layer)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        tokens, lengths = torch.randint(20, (4, 9)), torch.tensor([9, 4, 7, 2])
        scores = model(tokens, lengths)
        targets = (tokens % 3)[:, : scores.size(1)]
        loss = functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_carrying_state(make_layer: Layer) -> list[float]:
    """Truncated back-propagation: the state of one batch starts the next."""
    torch.manual_seed(0)
    layer, head = make_layer(3, 10, num_layers=2, dropout=0.2), nn.Linear(10, 3)
    optimiser = torch.optim.SGD([*layer.parameters(), *head.parameters()], lr=0.1, momentum=0.9)
    series = torch.sin(torch.arange(80.0).view(-1, 1, 1) / 3 + torch.rand(1, 2, 3))
    losses, state = [], None
    for chunk in series.split(8):
        output, (h, c) = layer(chunk[:-1], state)
        state = (h.detach(), c.detach())
        loss = functional.mse_loss(head(output), chunk[1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("train", [train_tagger, train_carrying_state])
def test_the_losses_are_the_same_to_the_bit(train: Callable[[Layer], list[float]]) -> None:
    expected = train(nn.LSTM)
    assert train(partial(LSTM, backend="torch")) == expected
    assert expected[-1] < expected[0]


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("train", [train_tagger, train_carrying_state])
def test_the_losses_of_other_backends_are_the_same_to_rounding(
    train: Callable[[Layer], list[float]], backend: str
) -> None:
    expected = train(nn.LSTM)
    found = train(partial(LSTM, backend=backend))
    # float32, and each step's rounding is carried on by the optimiser.
    assert found == pytest.approx(expected, rel=1e-4)
