"""The caller's layout of a call, and the way to and from that of the kernels: time first, batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from holdfast.errors import InputError
from holdfast.kernels import States
from holdfast.nn.keywords import described

Lengths = Tensor | Sequence[int]
Resets = Tensor | Sequence[Sequence[bool]] | Sequence[bool]


class Layout(NamedTuple):
    """How the caller's tensors lie: one sequence without a batch axis, or `batch_first` or not."""

    batched: bool
    batch_first: bool

    def entering(self, x: Tensor) -> Tensor:
        """`[T, B, ...]` of what the caller gave: `[T, ...]`, `[B, T, ...]` or `[T, B, ...]`."""
        if not self.batched:
            return x.unsqueeze(1)
        return x.transpose(0, 1) if self.batch_first else x

    def output(self, output: Tensor | PackedSequence) -> Tensor | PackedSequence:
        """The caller's form of an output `[T, B, width]`; a packed one is already."""
        if isinstance(output, PackedSequence):
            return output
        if not self.batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def state(self, state: States) -> States:
        """The caller's form of a state, parts `[L*D, B, width]`: without B for one sequence."""
        if self.batched:
            return state
        parts = [part.squeeze(1) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)

    def trace(self, value: Tensor) -> Tensor:
        """The caller's form of a traced value `[L, D, T, B, width]`."""
        if not self.batched:
            return value.squeeze(3)
        return value.transpose(2, 3) if self.batch_first else value


def as_lengths(lengths: Lengths | None) -> Tensor | None:
    """Lengths as a tensor; the kernels check their range."""
    if lengths is None or isinstance(lengths, Tensor):
        return lengths
    tensor = _as_tensor(lengths, "lengths must be integers, one per row")
    return tensor if tensor.numel() else tensor.long()  # torch takes an empty list for floats


def as_reset(reset: Resets | None, steps: int, batch: int, layout: Layout) -> Tensor | None:
    """`[T, B]` bool of what the caller gave in their layout."""
    if reset is None:
        return None
    if not isinstance(reset, Tensor):
        reset = _as_tensor(reset, "reset must be True or False for each step of each row")
        reset = reset if reset.numel() else reset.bool()
    axes, shape = "[T, B]", [steps, batch]
    if not layout.batched:
        axes, shape = "[T]", [steps]
    elif layout.batch_first:
        axes, shape = "[B, T]", [batch, steps]
    if list(reset.shape) != shape:
        raise InputError(f"reset must have the shape {axes} = {shape}, got {list(reset.shape)}")
    if reset.dtype != torch.bool:
        raise InputError(f"reset must be of torch.bool, true where a sequence begins, got {reset.dtype}")
    return layout.entering(reset)


def _as_tensor(given: Any, wanted: str) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{wanted}, got {described(given)}") from error
