"""The layers and the calls that the tests of the PyTorch way go through: one of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.nn.lstm import LSTM

KINDS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "lstm on the reference": {"backend": "reference"},
    "peephole": {"cell": "peephole"},
    "layernorm": {"cell": "layernorm"},
    "modified": {"zoneout": (0.3, 0.2), "recurrent_dropout": {"h": 0.3}, "cell_clip": 0.6},
}
CALLS = ("dense", "lengths", "reset")

# The default run takes each kind and each call at least once, the slow one all pairs.
_QUICK = {
    ("lstm", "dense"),
    ("lstm", "lengths"),
    ("lstm on the reference", "dense"),
    ("peephole", "reset"),
    ("layernorm", "lengths"),
    ("modified", "reset"),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_kind_and_call = pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if (kind, name) in _QUICK else pytest.mark.slow)
        for kind in KINDS
        for name in CALLS
    ],
)


def layer_of(kind: str, *sizes: int, **options: Any) -> LSTM:
    """A layer of that kind; its random masks are drawn from torch's default generator."""
    return LSTM(*sizes, **{**KINDS[kind], **options})


def call_of(name: str, steps: int, batch: int) -> dict[str, Tensor]:
    """The keywords of a call: none, lengths from T down to 0, or a reset here and there."""
    if name == "lengths":
        return {"lengths": torch.linspace(steps, 0, batch).long()}
    if name == "reset":
        place = torch.arange(steps * batch).view(steps, batch)
        return {"reset": (place % 5 == 2) & (place > 0)}
    return {}


def loss_of(result: Any) -> Tensor:
    """A number that depends on the whole output and on each part of the final state."""
    output, state = result
    loss: Tensor = output.square().sum()
    for k, part in enumerate(state):
        loss = loss + (k + 2) * part.sum()
    return loss


def seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the same random numbers at each call."""

    def run(*inputs: Any, **keywords: Any) -> Any:
        torch.manual_seed(3)
        return function(*inputs, **keywords)

    return run
