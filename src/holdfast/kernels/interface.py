"""What a backend is given, what it gives back, and what it must say about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from holdfast.cells import Cell
from holdfast.notation import State

# weights[layer][direction] maps a parameter's name without its suffix to the tensor: weight_ih [G*H, I],
# weight_hh [G*H, P or H]; bias_ih and bias_hh [G*H], both or neither; weight_hr [P, H] with a projection;
# and the cell's own parameters.
Weights = Sequence[Sequence[Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Request:
    """One call of a recurrence: a whole stack of layers over a whole sequence.

    Attributes:
        cell: the equations.
        x: `[T, B, I]`, zero in padding; or a packed sequence in its sorted order.
        weights: one mapping per layer and direction, see `Weights`.
        state: one tensor `[L*D, B, width]` per state of the cell, or None for zeros.
        lengths: `[B]` int64, how many steps of each row are valid; None when all are.
        dropout: the probability of zeroing an element between two layers; 0 outside training.
        trace: whether every named value is wanted.
    """

    cell: Cell
    x: Tensor | PackedSequence
    weights: Weights
    state: tuple[Tensor, ...] | None = None
    lengths: Tensor | None = None
    dropout: float = 0.0
    trace: bool = False

    @property
    def data(self) -> Tensor:
        """The tensor that holds the input, packed or not."""
        return self.x.data if isinstance(self.x, PackedSequence) else self.x

    @property
    def batch(self) -> int:
        """B."""
        return int(self.x.batch_sizes[0]) if isinstance(self.x, PackedSequence) else self.x.size(1)

    @property
    def directions(self) -> int:
        """D."""
        return len(self.weights[0])

    @property
    def hidden(self) -> int:
        """H."""
        return self.weights[0][0]["weight_hh"].size(0) // len(self.cell.gates)

    @property
    def width(self) -> int:
        """The width of h: P with a projection, else H."""
        return self.weights[0][0]["weight_hh"].size(1)

    def initial_state(self) -> tuple[Tensor, ...]:
        """The given state, or zeros in the dtype and on the device of the input."""
        if self.state is not None:
            return self.state
        rows = len(self.weights) * self.directions
        widths = [self.width if name == "h" else self.hidden for name in self.cell.states]
        return tuple(self.data.new_zeros(rows, self.batch, width) for width in widths)


@dataclass(frozen=True)
class Result:
    """What a recurrence gives back.

    Attributes:
        output: `[T, B, D*(P or H)]`, zero in padding; packed when the input was.
        state: one tensor `[L*D, B, width]` per state of the cell, after each row's last valid step.
        trace: each named value as `[L, D, T, B, width]` in time order, zero in padding; h and c
            differentiable, gates detached; or None when not asked for.
    """

    output: Tensor | PackedSequence
    state: tuple[Tensor, ...]
    trace: dict[str, Tensor] | None = None


class Backend(Protocol):
    """One implementation of the recurrence."""

    name: str
    summary: str

    def available(self) -> str | None:
        """None where this backend can run at all on this machine, else what is missing."""

    def supports(self, request: Request) -> str | None:
        """None where this backend can run this call, else the reason why not."""

    def run(self, request: Request) -> Result:
        """Run a call that `supports` accepted."""


def named_state(cell: Cell, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A `State(h, c)` for the cells that carry these two, else the plain tuple."""
    return State(*state) if cell.states == ("h", "c") else state


def valid_steps(lengths: Tensor, steps: int, device: torch.device) -> Tensor:
    """`[T, B, 1]`: true where a step is within its row's length."""
    time = torch.arange(steps, device=device).unsqueeze(1)
    return (time < lengths.to(device)).unsqueeze(2)


def being_traced() -> bool:
    """Whether `torch.jit.trace` records this call."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
