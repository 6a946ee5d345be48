from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.experiment import Outcome
from holdfast.lab.experiments import temporal_order
from holdfast.lab.experiments.temporal_order import (
    END,
    LENGTHS,
    START,
    TEMPORAL_ORDER,
    THREE_MARKS,
    TWO_MARKS,
    Span,
    X,
    Y,
    draw,
)
from holdfast.lab.learning import Sequences

MARKS = pytest.mark.parametrize("marks", [TWO_MARKS, THREE_MARKS])


def some(marks: tuple[Span, ...], count: int = 4000) -> Sequences:
    return draw(np.random.default_rng(0), count, LENGTHS, marks)


@MARKS
def test_marks_stand_in_their_spans_and_nowhere_else(marks: tuple[Span, ...]) -> None:
    sequences = some(marks)
    steps, rows = np.nonzero(np.isin(sequences.x.numpy(), (X, Y)))
    found = [sorted(steps[rows == row]) for row in range(4000)]
    assert all(len(own) == len(marks) for own in found)
    for (first, last), column in zip(marks, np.array(found).T, strict=True):
        assert set(column) == set(range(first, last + 1))


@MARKS
def test_the_class_is_the_order_of_the_marks(marks: tuple[Span, ...]) -> None:
    sequences = some(marks, 200)
    classes = sequences.targets.argmax(1).tolist()
    for row in range(200):
        order = "".join("01"[int(symbol == Y)] for symbol in sequences.x[:, row] if symbol in (X, Y))
        assert classes[row] == int(order, 2)
    assert torch.equal(sequences.targets.sum(1), torch.ones(200))
    assert set(classes) == set(range(2 ** len(marks)))


def test_sequences_begin_with_e_end_with_b_and_have_every_length() -> None:
    sequences = some(TWO_MARKS)
    assert set(sequences.lengths.tolist()) == set(range(100, 111))
    assert (sequences.x[0] == START).all()
    assert (sequences.x[sequences.lengths - 1, torch.arange(4000)] == END).all()
    between = torch.arange(len(sequences.x))[1:, None] < sequences.lengths - 1
    assert not torch.isin(sequences.x[1:][between], torch.tensor([START, END])).any()


def test_no_symbol_tells_the_class_but_the_marks() -> None:
    sequences = some(TWO_MARKS)
    second = sequences.targets.argmax(1) >= 2
    counts = torch.stack([(sequences.x[:30, second] == symbol).float().mean() for symbol in range(4)])
    others = torch.stack([(sequences.x[:30, ~second] == symbol).float().mean() for symbol in range(4)])
    assert torch.allclose(counts, others, atol=0.01)


def test_the_lstm_solves_the_short_version_and_the_rnn_does_not() -> None:
    case = TEMPORAL_ORDER.quick[0]
    outcomes: dict[str, Outcome] = {arm.name: temporal_order.run(case, arm, 0) for arm in case.arms}
    assert outcomes["lstm"].solved
    assert outcomes["lstm"].numbers["wrong"] <= 5
    assert not outcomes["rnn"].solved
    assert outcomes["rnn"].numbers["wrong"] > 1000
