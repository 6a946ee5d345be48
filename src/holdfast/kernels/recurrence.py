"""The one way into the kernels: a whole stack of recurrent layers over a whole sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from holdfast.cells import Cell
from holdfast.errors import InputError
from holdfast.kernels.choose import choose, explanation
from holdfast.kernels.interface import Request, Result, Weights, being_traced, named_state, valid_steps


def recurrence(
    cell: Cell,
    x: Tensor | PackedSequence,
    weights: Weights,
    state: tuple[Tensor, ...] | None = None,
    lengths: Tensor | None = None,
    *,
    dropout: float = 0.0,
    trace: bool = False,
    backend: str = "auto",
) -> Result:
    """Run stacked, one- or two-directional layers of a cell over a batch of sequences.

    Args:
        cell: the equations, from `holdfast.cells`.
        x: `[T, B, I]`; T may be 0. What lies in padding is never read, not even NaN. Or a packed sequence.
        weights: per layer, per direction, named tensors: see `holdfast.kernels.interface.Weights`.
        state: one tensor `[L*D, B, width]` per state of the cell; zeros when None.
        lengths: `[B]` integers from 0 to T; a row's later steps are padding. Not with a packed `x`.
        dropout: the probability of zeroing an element of what one layer passes to the next, in [0, 1].
        trace: also return every named value of the cell.
        backend: `"auto"`, or the name of the one that must run it.

    Returns:
        The output `[T, B, D*(P or H)]` (packed if `x` was), the state after each row's last valid step, and
        the trace (`[L, D, T, B, width]` by name, in time order, zero in padding) or None.

    Raises:
        InputError: lengths of the wrong shape, type or range.
        ConfigError: no backend of that name.
        BackendError: the named backend cannot run this call.
    """
    request = Request(cell, x, weights, state, lengths, dropout, trace)
    if isinstance(x, PackedSequence):
        return _run_packed(request, x, backend)
    chosen = choose(request, backend)
    if lengths is not None:
        request = _without_padding(request, x, checked_lengths(lengths, x.size(0), x.size(1)))
    result = chosen.run(request)
    return replace(result, state=named_state(cell, result.state))


def _without_padding(request: Request, x: Tensor, lengths: Tensor) -> Request:
    """Zeros in padding; lengths that leave no padding are dropped where asking costs no device stall."""
    if _readable(lengths) and bool((lengths == x.size(0)).all()):
        return replace(request, lengths=None)
    x = torch.where(valid_steps(lengths, x.size(0), x.device), x, 0.0)
    return replace(request, x=x, lengths=lengths)


def _readable(lengths: Tensor) -> bool:
    """Whether Python may look at the values: no device stall, no break in a graph, none frozen into it."""
    recorded = torch.compiler.is_compiling() or being_traced()
    return lengths.device.type == "cpu" and not recorded


def _run_packed(request: Request, x: PackedSequence, backend: str) -> Result:
    """Backends work in the packed order; the state and the trace are in the caller's order."""
    if request.lengths is not None:
        raise InputError(
            "got lengths together with a packed sequence, which carries its own; give one of them"
        )
    chosen = choose(request, backend)
    if request.state is not None:
        request = replace(request, state=_permuted(request.state, x.sorted_indices))
    result = chosen.run(request)
    state = _permuted(result.state, x.unsorted_indices)
    trace = result.trace
    if trace is not None and x.unsorted_indices is not None:
        trace = {name: value.index_select(3, x.unsorted_indices) for name, value in trace.items()}
    return Result(result.output, named_state(request.cell, state), trace)


def _permuted(state: tuple[Tensor, ...], indices: Tensor | None) -> tuple[Tensor, ...]:
    return state if indices is None else tuple(part.index_select(1, indices) for part in state)


def checked_lengths(lengths: Tensor, steps: int, batch: int) -> Tensor:
    """Lengths as int64; their range is checked where Python may look at the values.

    Raises:
        InputError: not `[B]` integers from 0 to T.
    """
    if lengths.dtype == torch.bool or lengths.is_floating_point() or lengths.is_complex():
        raise InputError(f"lengths must be integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise InputError(f"lengths must have one entry per row, shape [{batch}], got {list(lengths.shape)}")
    lengths = lengths.to(torch.int64)
    if _readable(lengths) and batch > 0 and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise InputError(
            f"lengths must lie between 0 and T = {steps}, got {int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths


class _Layer(Protocol):
    backend: str

    def request(
        self, x: Tensor | PackedSequence, *, lengths: Tensor | None = None, return_trace: bool = False
    ) -> Request: ...


def explain(
    layer: _Layer,
    x: Tensor | PackedSequence,
    lengths: Tensor | None = None,
    return_trace: bool = False,
) -> str:
    """Say which backend would run a call of the layer, and why not the others.

    Args:
        layer: a `holdfast.LSTM`.
        x: what it would be called with.
        lengths: as in the call.
        return_trace: as in the call.

    Returns:
        One line per backend, the chosen one first.
    """
    request = layer.request(x, lengths=lengths, return_trace=return_trace)
    return explanation(request, layer.backend)
