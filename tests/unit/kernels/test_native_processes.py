"""The core in other people's processes: forks, threads, signals and other interpreters."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import holdfast

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("holdfast._core") is None, reason="the compiled core is not built"
)

T, B, I, H = 50, 16, 24, 128  # noqa: E741 - the letters of holdfast.notation


def layer_and_x(units: int = H, **options: Any) -> tuple[holdfast.LSTM, Tensor]:
    """With so many units a call is large enough for several threads."""
    torch.manual_seed(0)
    return holdfast.LSTM(I, units, bidirectional=True, backend="native", **options), torch.randn(T, B, I)


def trained(layer: holdfast.LSTM, x: Tensor) -> list[Tensor]:
    """The output and every gradient."""
    output = layer(x)[0]
    assert isinstance(output, Tensor)
    return [output.detach(), *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trained(Dataset[list[Tensor]]):
    """What a layer gives and how it learns, of one batch of rows at a time."""

    def __init__(self, layer: holdfast.LSTM, x: Tensor) -> None:
        self.layer, self.x = layer, x

    def __len__(self) -> int:
        return self.x.size(1) // 4

    def __getitem__(self, k: int) -> list[Tensor]:
        return trained(self.layer, self.x[:, 4 * k : 4 * k + 4])


def workers_that_are_forked() -> None:
    layer, x = layer_and_x(cell="peephole")
    with threads(2):
        before, dataset = trained(layer, x), Trained(layer, x)
        expected = [dataset[k] for k in range(len(dataset))]
        for _ in range(2):
            loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
            found = list(loader)
            assert len(found) == 4
            assert all(map(same, found, expected))
            assert same(trained(layer, x), before)


def signals_with_handlers() -> None:
    layer, x = layer_and_x(H // 4)
    expected, seen = trained(layer, x), 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1

    signal.signal(signal.SIGALRM, count)
    for interval in (0.001, 0.003):
        seen = 0
        signal.setitimer(signal.ITIMER_REAL, interval, interval)
        while seen < 30:
            assert same(trained(layer, x), expected)
        signal.setitimer(signal.ITIMER_REAL, 0)


def a_handler_that_waits_for_the_call() -> None:
    """By the time of this process alone, whatever others run beside it."""
    layer, x = holdfast.LSTM(I, H, backend="native"), torch.randn(20_000, 1, I)
    moments = []
    signal.signal(signal.SIGVTALRM, lambda *_: moments.append(time.process_time()))
    with torch.no_grad():
        layer(x[:100])
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.005)
        layer(x)
        end = time.process_time()
    (moment,) = moments
    assert end - begin > 0.02, "the call is over too soon to say anything"
    assert moment - begin > 0.8 * (end - begin)


def a_handler_that_calls_the_layer() -> None:
    layer, x = layer_and_x(H // 4)
    expected, inner = trained(layer, x), []

    def train(*_: object) -> None:
        with torch.enable_grad():  # which is off where it comes between two lines of a forward pass
            inner.append(trained(layer, x))

    signal.signal(signal.SIGALRM, train)
    for k in range(10):
        signal.setitimer(signal.ITIMER_REAL, 0.0005 * (k + 1))
        while len(inner) == k:
            assert same(trained(layer, x), expected)
    assert all(same(one, expected) for one in inner)


def control_c() -> None:
    """At whatever moment of a forward or a backward pass it comes."""
    from holdfast import _core

    signal.signal(signal.SIGINT, signal.default_int_handler)  # maybe it is ignored
    layer, x = layer_and_x(H // 4)
    expected = trained(layer, x)
    gc.collect()
    used, interrupted = _core.memory()[0], 0
    for k in range(10):
        timer = threading.Timer(0.0013 * k, os.kill, (os.getpid(), signal.SIGINT))
        end = time.monotonic() + 5
        try:
            timer.start()
            # Python loses an interrupt that comes amid a destructor.
            while time.monotonic() < end:
                trained(layer, x)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        gc.collect()
        assert _core.memory()[0] == used
        assert same(trained(layer, x), expected)
    assert interrupted >= 7


def another_interpreter() -> None:
    """Not with autograd: before Python 3.12 that of PyTorch fails wherever there is a second interpreter."""
    from holdfast import _core

    torch.manual_seed(0)
    layer, x = holdfast.LSTM(I, H, backend="native"), torch.randn(T, B, I)
    prepared, frames = holdfast.prepare(layer), x.numpy()
    with torch.no_grad():
        before, run = layer(x)[0], prepared.run(frames)[0]
        for said in refusals(1), refusals(2):
            assert all("sub-interpreter" in text or "subinterpreters" in text for text in said), said
            assert torch.equal(layer(x)[0], before)
            assert (prepared.run(frames)[0] == run).all()
    assert _core.level in _core.levels


def refusals(count: int) -> list[str]:
    """What that many new interpreters, one after the other, say when they import the core."""
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    interpreters: Any = importlib.import_module(name)
    code = f"""
import os, sys
sys.path[:] = {sys.path!r}
try:
    import holdfast._core
    text = "it was imported"
except ImportError as error:
    text = str(error)
"""
    said = []
    for _ in range(count):
        reading, writing = os.pipe()
        interpreter = interpreters.create()
        run = interpreters.exec if name == "_interpreters" else interpreters.run_string
        run(interpreter, f"{code}\nos.write({writing}, text.encode())")
        interpreters.destroy(interpreter)
        os.close(writing)
        said.append(os.read(reading, 10_000).decode())
        os.close(reading)
    return said


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part
    for part in (
        workers_that_are_forked,
        signals_with_handlers,
        a_handler_that_waits_for_the_call,
        a_handler_that_calls_the_layer,
        control_c,
        another_interpreter,
    )
}


@pytest.mark.skipif(os.name != "posix", reason="forks and signals are those of POSIX")
@pytest.mark.parametrize("part", PARTS)
def test_in_a_process_with(part: str) -> None:
    calm = ["-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]  # Python's, of forks beside threads
    command = [sys.executable, *calm, __file__, part]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip() == "done"


class TestThreads:
    def test_several_train_one_layer_at_once(self) -> None:
        layer, x = layer_and_x(cell="peephole")
        parts = [x[:, :b] for b in (1, 5, 16)]
        expected = [trained(layer, part) for part in parts]
        right: list[bool] = []

        def work(number: int) -> None:
            order = [k % 3 for k in range(number, number + 6)]
            right.extend(same(trained(layer, parts[k]), expected[k]) for k in order)

        with threads(2):
            workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        assert right == [True] * 24

    def test_their_number_may_change_at_any_time(self) -> None:
        """Between calls, and between a forward and its backward pass."""
        layer, x = layer_and_x()
        with threads(1):
            expected = trained(layer, x)
        for forward, backward in ((2, 1), (1, 2), (3, 3), (1, 4), (2, 2)):
            with threads(forward):
                output = layer(x)[0]
            with threads(backward):
                found = torch.autograd.grad(output.square().sum(), list(layer.parameters()))
            assert same([output.detach(), *found], expected)


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    print("done")
