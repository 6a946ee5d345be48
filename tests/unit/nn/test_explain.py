"""`holdfast.explain` asks what a call asks, and refuses what a call refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import holdfast
from holdfast.errors import InputError
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

X = torch.zeros(6, 3, 5)


@pytest.mark.parametrize("other", [nn.LSTM(5, 7), nn.LSTMCell(5, 7), None])
def test_what_is_no_layer_of_ours_is_refused(other: Any) -> None:
    with pytest.raises(InputError, match=r"explain takes a holdfast.LSTM or a holdfast.LSTMCell, got a "):
        holdfast.explain(other, X)


def test_the_state_stands_where_the_call_has_it() -> None:
    layer = LSTM(5, 7)
    _, state = layer(X)
    assert holdfast.explain(layer, X, state) == holdfast.explain(layer, X)
    with pytest.raises(RuntimeError, match="Expected hidden"):
        holdfast.explain(layer, X, (torch.zeros(1, 2, 7), torch.zeros(1, 2, 7)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lengths": [9, 9, 9]}, "lengths must lie between 0 and T = 6, got 9 to 9"),
        ({"lengths": [1, 2]}, "lengths must have one entry per row"),
        ({"lengths": (X, X)}, "lengths must be integers, one per row, got a tuple of tensors"),
        ({"reset": torch.zeros(3, 6).bool()}, "reset must have the shape"),
    ],
)
def test_what_a_call_refuses_is_refused(given: dict[str, Any], message: str) -> None:
    layer = LSTM(5, 7)
    for call in (layer, lambda x, **given: holdfast.explain(layer, x, **given)):
        with pytest.raises(InputError, match=message):
            call(X, **given)


def test_lengths_with_a_packed_sequence_are_refused() -> None:
    layer, packed = LSTM(5, 7), pack_sequence([X[:, 0]])
    assert ": chosen" in holdfast.explain(layer, packed).splitlines()[0]
    for call in (layer, lambda x, **given: holdfast.explain(layer, x, **given)):
        with pytest.raises(InputError, match="got lengths together with a packed sequence"):
            call(packed, lengths=[6])


def test_a_single_cell_is_explained() -> None:
    assert holdfast.explain(LSTMCell(5, 7), X[0]).splitlines()[0].startswith("torch: chosen")
    peephole = LSTMCell(5, 7, cell="peephole", zoneout=0.1)
    before = torch.get_rng_state()
    chosen = holdfast.explain(peephole, X[0], (torch.zeros(3, 7), torch.zeros(3, 7)))
    assert ": chosen" in chosen.splitlines()[0]
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(InputError, match="lengths is for sequences, but an LSTMCell runs one step"):
        holdfast.explain(peephole, X[0], lengths=[1, 1, 1])
