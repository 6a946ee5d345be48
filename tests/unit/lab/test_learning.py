from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.learning import (
    TESTED,
    LastRight,
    Learning,
    Reader,
    RecentMean,
    Sequences,
    identity,
    largest_error,
    learn_and_test,
    squared,
    thinned,
)
from holdfast.nn.lstm import LSTM


def first_value(generator: np.random.Generator, count: int) -> Sequences:
    """Sequences of three or four steps; wanted is their first value."""
    x = torch.from_numpy(generator.uniform(-1, 1, (4, count, 1)).astype(np.float32))
    lengths = torch.from_numpy(generator.integers(3, 5, count))
    return Sequences(x, lengths, x[0].clone())


def reader(seed: int = 0) -> Reader:
    torch.manual_seed(seed)
    return Reader(LSTM(1, 6), 1, identity)


def test_the_last_ones_must_be_right_in_a_row() -> None:
    criterion = LastRight(0.1, count=3)
    criterion.see(torch.tensor([0.01, 0.01]))
    assert not criterion.met()
    criterion.see(torch.tensor([0.2, 0.01, 0.01]))
    assert not criterion.met()
    criterion.see(torch.tensor([0.01]))
    assert criterion.met()
    assert criterion.error == pytest.approx(0.01)
    criterion.see(torch.tensor([0.1]))
    assert not criterion.met(), "an error of the bound itself is wrong"


def test_their_mean_must_be_small_too() -> None:
    criterion = LastRight(1.0, count=2, mean=0.5)
    criterion.see(torch.tensor([0.9, 0.6]))
    assert not criterion.met()
    criterion.see(torch.tensor([0.1]))
    assert criterion.met()


def test_the_rate_falls_with_the_error() -> None:
    assert Learning(rate=0.1).rate_at(0.001) == 0.1
    falling = Learning(rate=0.1, falls_below=0.5)
    assert falling.rate_at(2.0) == 0.1
    assert falling.rate_at(0.25) == pytest.approx(0.05)


def test_the_recent_mean_starts_at_the_first_value_and_forgets() -> None:
    recent = RecentMean()
    assert recent.see(1.0) == 1.0
    assert recent.see(0.0) == pytest.approx(0.98)


def test_a_network_learns_until_the_criterion_is_met() -> None:
    criterion = LastRight(0.2, count=200)
    outcome = learn_and_test(
        reader(), first_value, criterion, Learning(rate=0.02), budget=20_000, seed=0, bound=0.2
    )
    assert outcome.solved
    assert 200 <= outcome.sequences < 20_000
    assert outcome.numbers["wrong"] < 0.05 * TESTED
    assert outcome.score == f"{outcome.numbers['wrong']:.0f} of 2560 wrong"
    assert outcome.curve[-1][0] == outcome.sequences
    assert outcome.weights == 4 * 6 * (1 + 6 + 2) + 7


def test_the_budget_ends_a_run_that_solves_nothing() -> None:
    outcome = learn_and_test(
        reader(), first_value, LastRight(1e-9), Learning(), budget=64, seed=0, bound=1e-9
    )
    assert not outcome.solved
    assert outcome.sequences == 64
    assert outcome.numbers["wrong"] == TESTED


def test_a_sequence_is_judged_before_it_is_learnt() -> None:
    seen: list[torch.Tensor] = []

    class Watching(LastRight):
        def see(self, errors: torch.Tensor) -> None:
            seen.append(errors)

    learn_and_test(reader(), first_value, Watching(0.1), Learning(batch=8), budget=8, seed=3, bound=0.1)
    fresh = first_value(np.random.default_rng(3), 8)
    with torch.no_grad():
        expected = largest_error(reader()(fresh.x, fresh.lengths), fresh.targets)
    torch.testing.assert_close(seen[0], expected)


def test_outputs_are_judged_by_the_truth_where_targets_are_noisy() -> None:
    def noisy(generator: np.random.Generator, count: int) -> Sequences:
        fresh = first_value(generator, count)
        return Sequences(fresh.x, fresh.lengths, fresh.targets + 100, torch.zeros(count, 1))

    outcome = learn_and_test(reader(), noisy, LastRight(5.0), Learning(), budget=16, seed=0, bound=5.0)
    assert outcome.numbers["wrong"] == 0


def test_the_same_seed_gives_the_same_curve_and_another_one_another() -> None:
    def curve(seed: int) -> tuple[tuple[float, float], ...]:
        return learn_and_test(
            reader(), first_value, LastRight(0.1), Learning(), budget=320, seed=seed, bound=0.1
        ).curve

    assert curve(1) == curve(1)
    assert curve(1) != curve(2)


def test_the_squared_error_sums_outputs_and_averages_rows() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert squared(outputs, targets).item() == pytest.approx(0.5 * 5 / 2)
    assert largest_error(outputs, targets).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("count", [1, 7, 99, 100, 101, 5000])
def test_a_curve_keeps_few_points_and_its_last(count: int) -> None:
    curve = [(float(n), 0.0) for n in range(count)]
    kept = thinned(curve)
    assert len(kept) <= 201
    assert kept[-1] == curve[-1]
    assert sorted(set(kept)) == list(kept)
