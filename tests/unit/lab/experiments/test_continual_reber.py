from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.lab.experiment import Arm
from holdfast.lab.experiments import continual_reber as reber
from holdfast.lab.experiments.continual_reber import CONTINUAL_REBER, StreamLearner, StreamReader, Window
from holdfast.lab.experiments.embedded_reber import Predictor
from holdfast.lab.reber_grammar import SYMBOLS, Streams

ERROR = 1e-6
"""Of one walk in two parts against the whole: rounding of float32."""


def reader(*, told: bool = False, cell: str = "lstm", streams: int = 3, seed: int = 0) -> StreamReader:
    torch.manual_seed(seed)
    return StreamReader(Predictor(cell, 4, 1.0), Streams(streams, np.random.default_rng(seed)), told=told)


def perfect(window: Window) -> Tensor:
    """The logits of someone who knows the grammar: the same probability for all that may be next."""
    return torch.where(window.possible, 0.0, -20.0)


def test_a_stream_is_read_on_from_where_it_stood_with_its_state() -> None:
    one, other = reader(), reader()
    whole, window = one.read(40)
    parts = [other.read(steps) for steps in (15, 25)]
    assert torch.equal(torch.cat([part.symbols for _, part in parts]), window.symbols)
    assert torch.equal(torch.cat([part.following for _, part in parts]), window.following)
    assert torch.allclose(torch.cat([logits for logits, _ in parts]), whole, atol=ERROR)
    assert torch.equal(window.symbols[1:], window.following[:-1])


@pytest.mark.parametrize("told", [False, True])
def test_only_who_is_told_forgets_where_a_string_begins(told: bool) -> None:
    logits, window = reader(told=told).read(60)
    begin, end = window.begins[:, 0].nonzero()[1:3, 0].tolist()
    alone, _ = reader().network(window.symbols[begin:end, :1])
    assert torch.allclose(logits[begin:end, 0], alone[:, 0], atol=ERROR) == told


def test_a_new_stream_begins_with_a_state_of_zeros_and_leaves_the_others_alone() -> None:
    ours, untouched = reader(), reader()
    ours.read(20), untouched.read(20)
    ours.begin_again(torch.tensor([False, True, False]))
    assert ours.state is not None
    assert untouched.state is not None
    for part, same in zip(ours.state, untouched.state, strict=True):
        assert (part[:, 1] == 0).all()
        assert (same[:, 1] != 0).any()
        assert torch.equal(part[:, ::2], same[:, ::2])
    _, window = ours.read(5)
    assert window.begins[0, 1]


def test_who_knows_the_grammar_makes_no_error() -> None:
    _, window = reader(streams=8).read(500)
    assert (reber.steps_until_error(perfect(window), window) == 500).all()


def test_who_forgets_the_second_symbol_errs_where_a_string_ends() -> None:
    """All squared errors are .25 there, below the paper's bound: so the most active outputs count as well."""
    _, window = reader(streams=8).read(500)
    forgetful = window.possible.clone()
    ends = window.following.eq(SYMBOLS.index("E")).roll(-1, 0)
    before_last = ends & window.possible.sum(2).eq(1) & ~window.following.eq(SYMBOLS.index("E"))
    T, P = SYMBOLS.index("T"), SYMBOLS.index("P")
    forgetful[..., T] |= before_last
    forgetful[..., P] |= before_last
    until = reber.steps_until_error(torch.where(forgetful, 0.0, -20.0), window)
    assert (until == before_last.long().argmax(0)).all()
    assert (until < 60).all()


def test_a_large_squared_error_is_an_error_even_where_the_order_is_right() -> None:
    _, window = reader(streams=1).read(2)
    sure = torch.nn.functional.one_hot(window.following, 7).float()
    unsure = perfect(window) + 2 * (1 - sure) * window.possible  # e^2 : 1 in favour of the other symbol
    assert window.possible[0].sum() == 2
    assert int(reber.steps_until_error(unsure, window)) == 0
    unsure = perfect(window) + 0.5 * (1 - sure) * window.possible
    assert int(reber.steps_until_error(unsure, window)) == 2


def test_a_stream_ends_at_its_first_error_and_what_follows_is_not_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = StreamLearner(reader())
    monkeypatch.setattr(reber, "steps_until_error", lambda *_: torch.tensor([reber.WINDOW, 0, 9]))
    learner.update()
    assert learner.streams == 2
    assert learner.symbols == reber.WINDOW + 1 + 10
    assert learner.since_error == 0
    state = learner.reader.state
    assert state is not None
    assert [bool((state[0][:, row] == 0).all()) for row in range(3)] == [False, True, True]


def test_symbols_after_an_error_have_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning one stream to its tenth symbol only is learning a stream of ten symbols."""
    monkeypatch.setattr(reber, "steps_until_error", lambda *_: torch.tensor([9]))
    long = StreamLearner(reader(streams=1))
    long.update()
    monkeypatch.setattr(reber, "WINDOW", 10)
    short = StreamLearner(reader(streams=1))
    short.reader.streams.random = np.random.default_rng(0)
    short.update()
    pairs = zip(long.reader.network.parameters(), short.reader.network.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in pairs)


def test_the_rate_falls_as_the_longest_stretch_without_an_error_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = StreamLearner(reader())
    rates = []
    for until in (reber.WINDOW, reber.WINDOW, 3, reber.WINDOW, reber.WINDOW, reber.WINDOW):
        monkeypatch.setattr(reber, "steps_until_error", lambda *_, until=until: torch.full((3,), until))
        learner.update()
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert learner.since_error == learner.longest == 3 * 3 * reber.WINDOW
    assert rates[0] == reber.RATE
    assert rates[0] > rates[1] > rates[2] == rates[3] == rates[4] > 0
    assert rates[5] == rates[4]


def test_test_streams_count_to_their_first_error_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream 0 errs in the first window, 1 in the second (and both later), 2 never."""
    answers = iter([[400, 1000, 1000], [1000, 30, 1000], [5, 1000, 1000], [7, 7, 500]])

    def judged(logits: Tensor, window: Window) -> Tensor:
        return torch.tensor(next(answers)).clamp(max=len(logits))

    monkeypatch.setattr(reber, "TEST_WINDOWS", (1000, 1000))
    monkeypatch.setattr(reber, "steps_until_error", judged)
    ours = reader()
    lengths = reber.test_lengths(ours.network, ours.streams, 3500, told=False)
    assert lengths.tolist() == [400, 1030, 3500]


def test_a_test_ends_when_every_stream_has(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = reader()
    lengths = reber.test_lengths(ours.network, ours.streams, 10**9, told=False)
    assert (lengths < 1000).all()


@pytest.mark.parametrize("arm", CONTINUAL_REBER.quick[0].arms, ids=lambda arm: arm.name)
def test_the_quick_version_tells_who_can_forget(arm: Arm) -> None:
    outcome = reber.run(CONTINUAL_REBER.quick[0], arm, seed=0)
    assert outcome.solved == (arm.expected == "solves")
    assert outcome.weights < 700
    assert 0 < outcome.sequences <= arm.budget + reber.STREAMS


def test_the_same_seed_gives_the_same_run() -> None:
    case = CONTINUAL_REBER.quick[0]
    arm = replace(case.arm("lstm"), budget=200)
    first, second = reber.run(case, arm, 1), reber.run(case, arm, 1)
    assert (first.sequences, first.numbers, first.curve) == (second.sequences, second.numbers, second.curve)
