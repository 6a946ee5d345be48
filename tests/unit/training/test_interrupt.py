"""Signals: the first asks, the second interrupts, and afterwards everything is as before."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from holdfast.training.interrupt import stop_on_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks(number: int) -> None:
    with stop_on_signals() as stop:
        assert not stop.asked
        send(number)
        assert stop.asked


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_interrupts(first: int, second: int) -> None:
    with stop_on_signals() as stop:
        send(first)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            send(second)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_handlers_are_restored(error: type[BaseException] | None) -> None:
    def own(number: int, frame: Any) -> None:
        raise AssertionError

    before = {number: signal.signal(number, own) for number in SIGNALS}
    try:
        if error is None:
            with stop_on_signals():
                assert signal.getsignal(signal.SIGINT) is not own
        else:
            with pytest.raises(error), stop_on_signals():
                raise error
        assert {signal.getsignal(number) for number in SIGNALS} == {own}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_request_ends_with_its_block() -> None:
    with stop_on_signals():
        send(signal.SIGINT)
    with stop_on_signals() as stop:
        assert not stop.asked


def test_another_thread_leaves_the_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[Any] = []

    def work() -> None:
        with stop_on_signals() as stop:
            seen.append((stop.asked, [signal.getsignal(number) for number in SIGNALS]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
