"""The core with the longest sequences and the largest arrays."""

from __future__ import annotations

import gc
import importlib.util
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

import holdfast

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("holdfast._core") is None, reason="the compiled core is not built"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at memory as Linux has it")
NO_RESERVE = 0x4000  # of Linux's mmap; Python has it by name from 3.13 on


def trained(layer: holdfast.LSTM, x: Tensor) -> list[Tensor]:
    """The output and every gradient."""
    output = layer(x)[0]
    assert isinstance(output, Tensor)
    return [output.detach(), *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]


class TestManySteps:
    """A sequence that is long, in pieces with the state carried on."""

    STEPS = 1_000_000

    def test_pieces_give_the_bits_of_the_whole(self) -> None:
        torch.manual_seed(0)
        layer, x = holdfast.LSTM(2, 6, backend="native"), torch.randn(self.STEPS, 1, 2)
        with torch.no_grad():
            whole, last = layer(x)
            for size in (100_000, 333_333):
                state, outputs = None, []
                for part in x.split(size):
                    output, state = layer(part, state)
                    outputs.append(output)
                assert torch.equal(torch.cat(outputs), whole)
                assert all(map(torch.equal, state, last))

    def test_truncated_back_propagation_learns_a_delay(self) -> None:
        """What came three steps ago, of two signs: 0.69 is a coin's loss."""
        torch.manual_seed(0)
        layer, head = holdfast.LSTM(1, 16, backend="native"), torch.nn.Linear(16, 1)
        optimiser = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)
        x = torch.randint(0, 2, (self.STEPS, 1, 1)).float()
        state, losses = None, []
        for part, late in zip(x[3:].split(5000), x[:-3].split(5000), strict=True):
            output, state = layer(part * 2 - 1, state)
            state = tuple([one.detach() for one in state])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(head(output), late)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[0] > 0.6
        assert losses[-1] < 0.05


@on_linux
def test_steps_that_are_gigabytes_apart() -> None:
    """In 32 GB of addresses, hardly any of which is memory."""
    steps, batch, inputs = 4, 3, 5
    apart = 2**31 + 1024  # elements
    nowhere = mmap.mmap(
        -1, steps * apart * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    )  # NORESERVE
    try:
        memory = torch.frombuffer(nowhere, dtype=torch.float32)
    except RuntimeError:
        pytest.skip("the system grants no such addresses")
    x = memory.as_strided((steps, batch, inputs), (apart, inputs, 1))
    x.copy_(torch.randn(steps, batch, inputs))
    layer = holdfast.LSTM(inputs, 7, bidirectional=True, backend="native")
    assert all(map(torch.equal, trained(layer, x), trained(layer, x.contiguous())))


def available_bytes() -> int:
    """Memory that is free."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def much_memory(needed: int) -> Iterator[None]:
    if available_bytes() < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GB of free memory")
    try:
        yield
    finally:
        gc.collect()
        holdfast.release_memory()


@on_linux
@pytest.mark.slow
class TestMoreElementsThanAnInt32Counts:
    """An output of 8.6 GB, whose rows have nothing to do with each other."""

    STEPS, ROWS, UNITS = 1024, 2**17 + 5, 16
    SOME = (slice(0, 3), slice(2**16 - 3, 2**16 + 3), slice(-7, None))

    def layer_and_x(self) -> tuple[holdfast.LSTM, Tensor]:
        assert self.STEPS * self.ROWS * self.UNITS > 2**31
        layer = holdfast.LSTM(1, self.UNITS, backend="native", recompute=32)
        return layer, torch.randn(self.STEPS, self.ROWS, 1)

    def test_each_row_has_its_own_bits(self) -> None:
        with much_memory(11 * 2**30), torch.no_grad():
            layer, x = self.layer_and_x()
            output, state = layer(x)
            for rows in self.SOME:
                alone, last = layer(x[:, rows])
                assert torch.equal(output[:, rows], alone)
                assert all(torch.equal(one[:, rows], other) for one, other in zip(state, last, strict=True))
            del output, state

    def test_each_row_has_its_own_gradients(self) -> None:
        def gradients(x: Tensor, state: tuple[Tensor, ...], rows: slice) -> tuple[Tensor, ...]:
            """Of a number that only those rows decide about."""
            loss = layer(x, state)[1][0][:, rows].square().sum()
            return torch.autograd.grad(loss, [*state, *layer.parameters()])

        with much_memory(13 * 2**30):
            layer, x = self.layer_and_x()
            h, c = (torch.randn(1, self.ROWS, self.UNITS, requires_grad=True) for _ in range(2))
            rows = self.SOME[-1]
            found = gradients(x, (h, c), rows)
            some = tuple([part[:, rows].detach().requires_grad_() for part in (h, c)])
            expected = gradients(x[:, rows], some, slice(None))
            for one, other in zip(found[:2], expected[:2], strict=True):
                assert torch.equal(one[:, rows], other)
                assert not one[:, : rows.start].any()
            for one, other in zip(found[2:], expected[2:], strict=True):
                torch.testing.assert_close(one, other)
            del found, h, c, x
