from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from holdfast.lab.experiments import copy_memory
from holdfast.lab.experiments.copy_memory import BLANK, COPY_MEMORY, KEPT, RECALL, Copier, Lately, Task

DELAY = 12
TASK = Task(DELAY)


@pytest.fixture
def drawn():
    return copy_memory.draw(np.random.default_rng(1), 7, TASK)


def test_sequences_are_ten_symbols_a_silence_the_sign_and_ten_blanks(drawn) -> None:
    x, symbols = drawn
    assert x.shape == (DELAY + 20, 7)
    assert x.dtype == torch.int64
    assert torch.equal(x[:KEPT], symbols)
    assert (x[:KEPT] < 8).all()
    assert (x[DELAY + 9] == RECALL).all()
    rest = torch.cat((x[KEPT : DELAY + 9], x[DELAY + 10 :]))
    assert (rest == BLANK).all()


def test_every_symbol_is_drawn_and_each_draw_is_fresh() -> None:
    generator = np.random.default_rng(2)
    first, second = (copy_memory.draw(generator, 100, TASK)[1] for _ in range(2))
    assert first.unique().tolist() == list(range(8))
    assert not torch.equal(first, second)


def test_who_knows_when_but_not_what_has_the_memoryless_loss(drawn) -> None:
    x, symbols = drawn
    scores = torch.full((*x.shape, 9), -math.inf)
    scores[:-KEPT, :, BLANK] = 0
    scores[-KEPT:, :, :8] = 0
    loss = copy_memory.loss_of(scores, symbols)
    assert float(loss) == pytest.approx(TASK.memoryless)
    assert TASK.memoryless == pytest.approx(10 * math.log(8) / 32)


def test_the_loss_of_the_right_answer_is_zero_and_order_counts(drawn) -> None:
    _, symbols = drawn
    wanted = torch.cat((torch.full((DELAY + 10, 7), BLANK), symbols))
    scores = 100.0 * torch.nn.functional.one_hot(wanted, 9)
    assert float(copy_memory.loss_of(scores, symbols)) == pytest.approx(0, abs=1e-6)
    assert float(copy_memory.loss_of(scores, symbols.flip(0))) > 1


def test_the_mean_waits_for_enough_batches() -> None:
    lately = Lately(2, [0.25])
    assert lately.mean == math.inf
    lately.losses.append(0.75)
    assert lately.mean == 0.5
    lately.losses.append(0.25)
    assert lately.mean == 0.5


def test_the_final_test_scores_a_network_that_copies() -> None:
    class Perfect(Copier):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wanted = torch.cat((torch.full((DELAY + 10, x.shape[1]), BLANK), x[:KEPT]))
            return 100.0 * torch.nn.functional.one_hot(wanted, 9)

    network = Perfect(copy_memory.new_layer("lstm", DELAY))
    numbers = copy_memory.test(network, TASK, 0)
    assert numbers["right"] == 1
    assert numbers["share_of_memoryless"] == pytest.approx(0, abs=1e-6)


def test_the_lstm_copies_and_the_rnn_does_not() -> None:
    (case,) = COPY_MEMORY.quick
    lstm, rnn = (copy_memory.run(case, arm, 0) for arm in case.arms)
    assert lstm.solved
    assert lstm.numbers["share_of_memoryless"] < copy_memory.SHARE
    assert not rnn.solved
    assert rnn.sequences >= rnn_budget(case)


def rnn_budget(case) -> int:
    return case.arm("rnn").budget
