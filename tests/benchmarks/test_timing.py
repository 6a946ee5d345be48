"""Turns alternate, samples are those of single calls, and cheap calls are repeated."""

from __future__ import annotations

import time

import pytest
from problem import Shape, Work, make
from timing import LEAST_ROUNDS, time_in_turn


def test_works_take_turns_in_alternating_order() -> None:
    calls: list[str] = []

    def work(name: str) -> Work:
        def call() -> None:
            calls.append(name)
            time.sleep(0.025)  # longer than a turn

        return Work(call, None)

    times = time_in_turn([work("a"), work("b")], seconds=0.0)
    warm_up = "aaabbb"
    assert "".join(calls) == warm_up + "abbaabbaab"
    assert [kept.samples for kept in times] == [LEAST_ROUNDS] * 2
    for kept in times:
        assert 25 <= kept.low <= kept.median <= kept.high < 250


def test_a_short_call_is_repeated_within_a_sample_and_counted_once() -> None:
    clock = Work(lambda: None, None, seconds=lambda count: count * 2e-6)
    (times,) = time_in_turn([clock], seconds=0.0)
    assert times.median == pytest.approx(2e-3)  # milliseconds
    assert times.samples > LEAST_ROUNDS


def test_what_a_problem_costs() -> None:
    shape = Shape(T=10, B=3, I=4, H=5)
    product = 2 * 4 * 5 * (4 + 5) / 1e9
    assert make(shape, "forward").gflop == pytest.approx(product * 30)
    assert make(shape, "training").gflop == pytest.approx(product * 90)
    assert make(shape, "training", "coupled").gflop == pytest.approx(product * 90 * 3 / 4)
    ragged = make(shape, "forward", shortest=0.0)
    assert ragged.lengths is not None
    assert ragged.gflop == pytest.approx(product * int(ragged.lengths.sum()))
