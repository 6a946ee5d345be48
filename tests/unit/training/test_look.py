"""One look inside: right numbers, and no mark left on the network or the random generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.nn.lstm import LSTM
from holdfast.training.look import Look, Rows, look

ROWS = np.arange(4)
STEPS, LENGTHS = 9, torch.tensor([9, 3, 1, 6])


class Model(nn.Module):
    """With everything that remembers: dropout, a normalisation with running means, a parametrised weight."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.lstm = LSTM(3, 4, bidirectional=True, **options)
        self.dropout, self.norm = nn.Dropout(0.4), nn.BatchNorm1d(8)
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 2))
        self.x = torch.randn(STEPS, 4, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output = self.lstm(self.dropout(x), lengths=lengths)[0]
        return self.head(self.norm(output.sum(0)))  # type: ignore[no-any-return]

    def loss(self, rows: Rows) -> Tensor:
        return functional.cross_entropy(
            self(self.x[:, rows], LENGTHS[rows]), torch.tensor([0, 1, 0, 1])[rows]
        )


def looks(model: Model) -> list[Look]:
    return look(model, model.loss, ROWS)


def test_it_leaves_no_mark() -> None:
    model = Model()
    model.loss(ROWS).backward()  # gradients of a step before
    model.lstm.bias_ih_l0.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [None if value.grad is None else value.grad.clone() for value in model.parameters()]
    random = torch.get_rng_state()
    assert looks(model)
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for (name, value), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert (gradient is None) == (value.grad is None)
        assert gradient is None or torch.equal(value.grad, gradient)
        assert value.requires_grad == (name != "lstm.bias_ih_l0")
    assert model.training
    assert not model.lstm._forward_hooks
    assert not model.lstm._forward_pre_hooks


def test_it_leaves_no_mark_when_the_loss_fails() -> None:
    model = Model()

    def fails(rows: Rows) -> Tensor:
        model.loss(rows)
        raise ZeroDivisionError

    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        look(model, fails, ROWS)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.requires_grad for value in model.parameters())
    assert not model.lstm._forward_hooks


@pytest.mark.parametrize("cell", ["lstm", "rnn", "coupled"])
def test_the_numbers_are_those_of_the_layer_s_own_trace(cell: str) -> None:
    model = Model(cell=cell).eval()
    found = looks(model)
    output, _, trace = model.lstm(model.x, lengths=LENGTHS, return_trace="gradients")
    functional.cross_entropy(model.head(model.norm(output.sum(0))), torch.tensor([0, 1, 0, 1])).backward()
    state = "h" if cell == "rnn" else "c"
    assert [one.label for one in found] == ["layer 1", "layer 1, from the end"]
    for direction, one in enumerate(found):
        squares: dict[int, list[float]] = {0: [], 1: [], 2: [], 4: [], 8: []}
        for row, length in enumerate(LENGTHS.tolist()):
            for step in range(length):
                lag = step if direction else length - 1 - step
                square = trace.gradients[state][0, direction, step, row].square().sum()
                squares[max(first for first in squares if first <= lag)].append(float(square))
        assert one.lags == list(squares)
        assert one.steps.tolist() == [len(own) for own in squares.values()]
        np.testing.assert_allclose(one.norms, [np.mean(own) ** 0.5 for own in squares.values()], rtol=1e-5)
        gates = {"lstm": "ifo", "rnn": "", "coupled": "fo"}[cell]
        for gate in gates:
            valid = torch.cat([trace[gate][0, direction, :length, row] for row, length in enumerate(LENGTHS)])
            assert one.shut[gate] == pytest.approx(float((valid < 0.1).double().mean()))
            assert one.open[gate] == pytest.approx(float((valid > 0.9).double().mean()))
        assert set(gates) <= set(one.shut)


@torch.no_grad()
def test_gates_that_are_shut_and_open() -> None:
    model = Model()
    model.lstm.bias_ih_l0[:4] = -100.0
    model.lstm.bias_ih_l0[4:8] = 100.0
    forward, reverse = looks(model)
    assert (forward.shut["i"], forward.open["i"]) == (1, 0)
    assert (forward.shut["f"], forward.open["f"]) == (0, 1)
    assert reverse.shut["i"] < 0.5


def test_a_layer_that_is_called_twice_is_seen_twice() -> None:
    model = Model()
    once = looks(model)

    def twice(rows: Rows) -> Tensor:
        return model.loss(rows) + model.loss(rows)

    for one, both in zip(once, look(model, twice, ROWS), strict=True):
        assert both.steps.tolist() == (2 * one.steps).tolist()


def test_nothing_to_see() -> None:
    model = Model()
    assert look(model, lambda rows: torch.tensor(1.0), ROWS) == []
    assert look(nn.Linear(2, 2), lambda rows: torch.ones(1, requires_grad=True).sum(), ROWS) == []


def test_a_compiled_network_is_looked_at_without_its_compiled_code() -> None:
    model = Model()
    plain = looks(model)
    compiled = torch.compile(model, backend="eager")
    model.forward = compiled  # type: ignore[method-assign,assignment]
    calls = look(compiled, lambda rows: _of_compiled(compiled, model, rows), ROWS)
    assert [one.label for one in calls] == [one.label for one in plain]
    assert all((one.norms > 0).any() for one in calls)


def _of_compiled(compiled: Any, model: Model, rows: Rows) -> Tensor:
    logits = compiled(model.x[:, rows], LENGTHS[rows])
    return functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])[rows])
