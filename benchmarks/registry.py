"""What is measured: each case builds ours and the peer's version of the same work, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import holdfast

Work = Callable[[], None]


@dataclass(frozen=True)
class Shape:
    """T steps, B sequences, I inputs, H hidden units, one layer of one or two directions."""

    T: int
    B: int
    I: int  # noqa: E741 - the letters of holdfast.notation
    H: int
    bidirectional: bool = False


@dataclass(frozen=True)
class Case:
    """One comparison: `build` gives ours and the peer's work on the same numbers."""

    group: str
    ours: str
    peer: str
    shape: Shape
    build: Callable[[Shape], tuple[Work, Work]]


TINY = (Shape(5, 2, 4, 8),)
QUICK = (Shape(1, 1, 64, 64), Shape(100, 1, 64, 64), Shape(100, 16, 64, 128), Shape(100, 32, 128, 256))
FULL = (
    Shape(1, 1, 64, 64),
    Shape(1, 1, 128, 256),
    Shape(100, 1, 64, 64),
    Shape(100, 1, 128, 256),
    Shape(100, 16, 64, 128),
    Shape(100, 32, 128, 256),
    Shape(100, 64, 256, 512),
    Shape(200, 128, 64, 128),
    Shape(784, 128, 1, 128),
)
RAGGED = {
    "tiny": (Shape(5, 3, 4, 8, True),),
    "quick": (Shape(100, 32, 128, 128, True), Shape(100, 32, 128, 256)),
    "full": (Shape(100, 32, 128, 128, True), Shape(100, 32, 128, 256), Shape(400, 64, 64, 128)),
}
LOOPS = {
    "tiny": TINY,
    "quick": (Shape(100, 16, 64, 128),),
    "full": (Shape(100, 16, 64, 128), Shape(400, 64, 64, 128)),
}


def cases(size: str) -> Iterator[Case]:
    """Every case of a run of that size: `"tiny"`, `"quick"` or `"full"`."""
    for shape in {"tiny": TINY, "quick": QUICK, "full": FULL}[size]:
        yield Case("forward", "holdfast.LSTM", "torch.nn.LSTM", shape, dense_forward)
        yield Case("training", "holdfast.LSTM", "torch.nn.LSTM", shape, dense_training)
    for shape in RAGGED[size]:
        for group, shortest in (("lengths 0.9 T to T", 0.9), ("lengths 1 to T", 0.0)):
            build = ragged_training(shortest)
            yield Case(group, "holdfast.LSTM(lengths=)", "torch.nn.LSTM, packed", shape, build)
    for shape in LOOPS[size]:
        yield Case("peephole", "holdfast.LSTM(cell='peephole')", "loop over x[t]", shape, peephole_training)


def _pair(shape: Shape) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    peer = nn.LSTM(shape.I, shape.H, bidirectional=shape.bidirectional)
    ours = holdfast.LSTM(shape.I, shape.H, bidirectional=shape.bidirectional)
    ours.load_state_dict(peer.state_dict())
    return ours, peer, torch.randn(shape.T, shape.B, shape.I, requires_grad=True)


def _train(layer: nn.Module, run: Callable[[], Tensor]) -> Work:
    """Forward, then backward to the input and every parameter from the same gradient each time."""
    upstream = torch.randn_like(run())

    def work() -> None:
        layer.zero_grad()
        run().backward(upstream)

    return work


def dense_forward(shape: Shape) -> tuple[Work, Work]:
    ours, peer, x = _pair(shape)

    def forward(layer: nn.Module) -> Work:
        @torch.inference_mode()
        def work() -> None:
            layer(x)

        return work

    return forward(ours), forward(peer)


def dense_training(shape: Shape) -> tuple[Work, Work]:
    ours, peer, x = _pair(shape)
    return _train(ours, lambda: ours(x)[0]), _train(peer, lambda: peer(x)[0])


def ragged_training(shortest: float) -> Callable[[Shape], tuple[Work, Work]]:
    """Training on rows of uneven length, from `shortest * T` to T: padded with lengths against packed."""

    def build(shape: Shape) -> tuple[Work, Work]:
        ours, peer, x = _pair(shape)
        lengths = torch.randint(max(1, int(shortest * shape.T)), shape.T + 1, (shape.B,))
        lengths[0] = shape.T

        def packed() -> Tensor:
            output, _ = peer(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(output)[0]

        return _train(ours, lambda: ours(x, lengths=lengths)[0]), _train(peer, packed)

    return build


class PeepholeLoop(nn.Module):
    """A peephole LSTM as most people write it: one input projection, then a loop that takes `xp[t]`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.x2g = nn.Linear(input_size, 4 * hidden_size)
        self.h2g = nn.Linear(hidden_size, 4 * hidden_size)
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.size(1), self.hidden_size)
        xp = self.x2g(x)
        outputs = []
        for t in range(x.size(0)):
            i, f, g, o = (xp[t] + self.h2g(h)).chunk(4, dim=1)
            i = torch.sigmoid(i + self.peepholes[0] * c)
            f = torch.sigmoid(f + self.peepholes[1] * c)
            c = f * c + i * torch.tanh(g)
            o = torch.sigmoid(o + self.peepholes[2] * c)
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


def peephole_training(shape: Shape) -> tuple[Work, Work]:
    ours, peer = holdfast.LSTM(shape.I, shape.H, cell="peephole"), PeepholeLoop(shape.I, shape.H)
    x = torch.randn(shape.T, shape.B, shape.I, requires_grad=True)
    return _train(ours, lambda: ours(x)[0]), _train(peer, lambda: peer(x))
