"""Advice: each finding at its limit, none just before it, and none of a healthy run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from holdfast.inspection.advice import Advice, advise


@dataclass(frozen=True)
class Row:
    epoch: int = 1
    train_loss: float = 0.5
    valid_loss: float = 0.6
    gradient_norm: float = 3.0
    clipped_share: float = 0.4


@dataclass(frozen=True)
class Seen:
    label: str = "layer 1"
    norms: Any = field(default_factory=lambda: np.array([1.0, 0.8, 0.5, 0.3, 0.2]))
    lags: Sequence[int] = (0, 1, 2, 4, 8)
    shut: Mapping[str, float] = field(default_factory=lambda: {"i": 0.5, "f": 0.1})
    open: Mapping[str, float] = field(default_factory=lambda: {"i": 0.1, "f": 0.99})


def findings(history: Sequence[Row] = (Row(),), layers: Sequence[Seen] = (Seen(),)) -> list[Advice]:
    return advise(history, layers, clip_norm=2.0)


def test_a_healthy_run_gets_none() -> None:
    assert findings([Row(1, 0.7, 0.65), Row(2, 0.5, 0.55), Row(3, 0.4, 0.56)]) == []
    assert findings([], []) == []


@pytest.mark.parametrize(("valid", "told"), [(0.99, False), (1.0, True)])
def test_memorising_at_the_best_epoch(valid: float, told: bool) -> None:
    found = findings([Row(1, 0.9, 1.2), Row(2, 0.5, valid), Row(3, 0.45, 1.3 * valid)])
    if told:
        (advice,) = found
        assert advice.finding == "memorises"
        assert advice.number == 2.0
        assert (
            "at its best epoch, 2, the loss is 0.5 on the rows it learns from and 1, 2.0 times" in advice.text
        )
    else:
        assert [one.number for one in found] == [pytest.approx(1.3)]  # it rose afterwards


def test_two_small_losses_are_no_memorising() -> None:
    assert findings([Row(1, 0.001, 0.02)]) == []


@pytest.mark.parametrize(
    ("last", "limit"),
    [
        (Row(3, 0.4, 0.62), 1.05),
        (Row(3, 0.4, 0.61), None),
        (Row(3, 0.5, 0.9), None),  # it learns no more either
        (Row(3, 0.2, 0.601), 3.0),
        (Row(3, 0.21, 0.6), None),
    ],
)
def test_memorising_after_the_best_epoch(last: Row, limit: float | None) -> None:
    found = findings([Row(1, 0.6, 0.7), Row(2, 0.45, 0.59), last])
    assert [(one.finding, one.limit) for one in found] == [("memorises", limit)] * (limit is not None)
    if found:
        assert "after epoch 2: from there to epoch 3 the loss goes from 0.45 to" in found[0].text
        assert f"and from 0.59 to {last.valid_loss:g} on others" in found[0].text


@pytest.mark.parametrize(("norm", "told"), [(199.0, False), (200.0, True)])
def test_exploding(norm: float, told: bool) -> None:
    found = findings([Row(1), Row(2, gradient_norm=norm), Row(3)])
    assert [one.finding for one in found] == ["explodes"] * told
    if told:
        assert "in epoch 2 one had the norm 200, 100 times the clip norm of 2" in found[0].text


@pytest.mark.parametrize(("shares", "told"), [((0.0, 0.9), True), ((1.0, 0.89), False)])
def test_always_clipped_in_the_last_epoch(shares: tuple[float, float], told: bool) -> None:
    found = findings([Row(1, clipped_share=shares[0]), Row(2, clipped_share=shares[1])])
    assert [one.finding for one in found] == ["explodes"] * told
    assert all("in 90% of the steps of the last epoch, at a norm of 2" in one.text for one in found)


@pytest.mark.parametrize(("share", "told"), [(0.89, False), (0.9, True)])
@pytest.mark.parametrize("gate", ["i", "f", "mine"])
def test_a_shut_gate(gate: str, share: float, told: bool) -> None:
    found = findings(layers=[Seen(label="layer 2", shut={gate: share, "o": 0.2})])
    assert [one.finding for one in found] == ["saturates"] * told
    if told:
        assert f"gate {gate} of layer 2 saturates: 90% of its values are below 0.1" in found[0].text
        assert ("forget_bias" in found[0].text) == (gate == "f")


@pytest.mark.parametrize(("gate", "told"), [("i", True), ("f", False)])
def test_an_open_gate_and_an_open_forget_gate(gate: str, told: bool) -> None:
    found = findings(layers=[Seen(open={gate: 1.0})])
    assert [one.finding for one in found] == ["saturates"] * told


@pytest.mark.parametrize(
    ("norms", "told"),
    [
        ([1.0, 0.5, 0.1, 0.01, 0.00099], True),
        ([1.0, 0.5, 0.1, 0.01, 0.00101], False),
        ([1e-9, 1e-6, 1e-3, 0.1, 1.0], False),  # the loss is taken where the direction begins
        ([0.0] * 5, False),
        ([1.0, 0.5, 0.1, 0.0], False),  # 7 steps: no matter of memory
    ],
)
def test_vanishing(norms: list[float], told: bool) -> None:
    layer = Seen(norms=np.array(norms), lags=[0, 1, 2, 4, 8][: len(norms)])
    found = findings(layers=[layer])
    assert [one.finding for one in found] == ["vanishes"] * told
    if told:
        assert "in layer 1: 8 and more steps back they are 0.001 of the largest" in found[0].text


def test_advice_is_plain_data() -> None:
    (found,) = findings([Row(gradient_norm=400.0)])
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told == {"finding": "explodes", "number": 200.0, "limit": 100.0, "text": found.text}
