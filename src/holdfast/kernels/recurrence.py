"""The one way into the kernels: a whole stack of recurrent layers over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from holdfast.cells import Cell
from holdfast.errors import InputError
from holdfast.kernels.checkpoints import Recompute, as_number
from holdfast.kernels.choose import choose, explanation
from holdfast.kernels.differentiation import EagerRecurrence, Recurrence, applied, forward, watched
from holdfast.kernels.indices import check_indices
from holdfast.kernels.interface import (
    Backend,
    Request,
    Result,
    States,
    Weights,
    autocast_type,
    being_recorded,
    being_traced,
    call_type,
    named_state,
)
from holdfast.kernels.native import NativeBackend
from holdfast.kernels.operators import KINDS, check_range, planned, run_forward, tensors_of
from holdfast.kernels.torch_native import TorchBackend

TraceWish = bool | Literal["gradients"]


def recurrence(
    cell: Cell,
    x: Tensor | PackedSequence,
    weights: Weights,
    state: States | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    *,
    seed: Tensor | None = None,
    start: States | None = None,
    dropout: float = 0.0,
    residual: bool = False,
    recompute: Recompute = None,
    trace: TraceWish = False,
    as_cell: bool = False,
    entries: States = (),
    backend: str = "auto",
) -> Result:
    """Run stacked, one- or two-directional layers of a cell over a batch of sequences.

    Args:
        cell: the equations, from `holdfast.cells`, with the modifiers that are wanted.
        x: `[T, B, I]`; T may be 0. What lies in padding is never read, not even NaN. Or a packed sequence. Or
            indices, int64 `[T, B]` or packed, from 0 to I - 1: the one-hot vector of each.
        weights: per layer, per direction, named tensors: see `holdfast.kernels.interface.Weights`.
        state: one tensor `[L*D, B, width]` per state of the cell; zeros when None.
        lengths: `[B]` integers from 0 to T; a row's later steps are padding. Not with a packed `x`.
        reset: `[T, B]` bool; true where a step begins a new sequence. The forward direction is
            re-initialised before it, the reverse direction after it. In padding it means nothing.
        seed: 0-dim int64 from which the masks of dropout and zoneout are drawn; needed if the cell has any.
        start: what `reset` re-initialises to, one tensor `[L*D, width]` per state; zeros when None.
        dropout: the probability of zeroing an element of what one layer passes to the next, in [0, 1].
        residual: each layer after the first adds its input, without dropout, to its output (Wu et al. 2016).
        recompute: k, at least 1, to keep only the states before every k-th step for the backward pass, which
            computes the rest once more; True for about the square root of T, None to keep every value. The
            results have the same bits. With a trace every value is kept all the same.
        trace: also return every named value of the cell; `"gradients"`: and taps for what flows backwards.
        as_cell: whether one step of one layer stands in for PyTorch's cell, whose bits then count.
        entries: of a sparse x, which inputs are not 0, and their values unless these are all 1; x then says
            where those of each step and row begin: see `holdfast.kernels.interface.Request`.
        backend: `"auto"`, or the name of the one that must run it.

    Returns:
        The output `[T, B, D*(P or H)]` (packed if `x` was), the state after each row's last valid step, the
        trace (`[L, D, T, B, width]` by name, in time order, zero in padding) or None, and the taps or None.

    Raises:
        InputError: lengths, reset or indices of the wrong shape, type or range; a cell that draws without a
            seed.
        ConfigError: no backend of that name.
        BackendError: the named backend cannot run this call.
    """
    if cell.draws and seed is None:
        raise InputError(f"the cell {cell.spec} draws random masks: give recurrence a seed")
    request = Request(
        cell,
        x,
        weights,
        state,
        lengths,
        reset,
        start,
        seed,
        dropout,
        residual=residual,
        recompute=as_number(recompute, traced=trace is not False),
        trace=trace is not False,
        as_cell=as_cell,
        entries=entries,
    )
    chosen = choose(request, backend)
    if isinstance(x, PackedSequence):
        return _run_packed(request, x, chosen, trace)
    request = _checked(request, x)
    if _runs_by_itself(chosen):
        result = chosen.run(request)
    else:
        request = _with_masks(_in_its_type(request, chosen))
        result = _through_operators(request, chosen, trace)
    return Result(result.output, named_state(cell, result.state), result.trace, result.taps)


def _checked(request: Request, x: Tensor) -> Request:
    """Lengths, reset and indices of the right form, and no lengths that leave no padding."""
    steps, batch = x.size(0), x.size(1)
    if request.reset is not None:
        request = replace(request, reset=checked_reset(request.reset, steps, batch).to(x.device))
    # Values are looked at only where Python may: no device stall, no break in a graph, none frozen into it.
    if request.lengths is not None:
        lengths = checked_lengths(request.lengths, batch)
        full = _readable(lengths) and check_range(lengths, steps) == steps
        request = replace(request, lengths=None if full else lengths)
    if request.by_index and _readable(x):
        check_indices(request)
    return request


def _check_devices(kinds: Mapping[str, Sequence[Tensor]]) -> None:
    """In PyTorch's words; lengths, resets and the seed are taken to the device of the input."""
    device = kinds["x"][0].device
    for kind, what in (("weights", "parameter"), ("state", "hidden"), ("start", "hidden")):
        for tensor in kinds[kind]:
            if tensor.device != device:
                raise InputError(
                    f"Input and {what} tensors are not at the same device, found input tensor at {device} "
                    f"and {what} tensor at {tensor.device}"
                )


def _readable(tensor: Tensor) -> bool:
    """Whether Python may look at the values: no device stalls, and nothing stands in for them."""
    if being_recorded() or _transformed() or torch._C._len_torch_dispatch_stack() > 0:
        return False
    return tensor.device.type == "cpu" and not isinstance(tensor, torch._subclasses.FakeTensor)


def _transformed() -> bool:
    """Whether `torch.func` transforms this call."""
    return torch._C._are_functorch_transforms_active()


def _runs_by_itself(backend: Backend) -> TypeGuard[TorchBackend]:
    """Whether PyTorch's own autograd runs the call: in plain eager mode, where it is the quickest way.

    Compilers would unroll its fused calls over time, and `torch.func` cannot transform them.
    """
    return isinstance(backend, TorchBackend) and not torch.compiler.is_compiling() and not _transformed()


def _through_operators(request: Request, backend: Backend, trace: TraceWish) -> Result:
    x = request.like
    if trace == "gradients":
        request = replace(request, taps=_zero_taps(request))
    kinds = tensors_of(request)
    _check_devices(dict(zip(KINDS, kinds, strict=True)))
    tensors = [tensor for kind in kinds for tensor in kind]
    # What torch.jit.trace records may be trained later, whatever the grad mode is now; and autograd may run
    # around a transform that hides whether a tensor requires it.
    trains = torch.is_grad_enabled() and (_transformed() or any(tensor.requires_grad for tensor in tensors))
    keep = request.trace or being_traced() or trains
    plan = planned(request, kinds, backend.name, keep=keep, trace=request.trace)
    results: Sequence[Tensor]
    if being_recorded() and not _transformed():
        results = forward(plan, tensors)
    elif watched(tensors):
        results = applied(Recurrence, plan, *tensors)
    elif trains:
        results = applied(EagerRecurrence, request, plan, *tensors)
    else:
        results = run_forward(backend, request, keep, tensors)
    first = 1 + len(plan.states)
    dtype = torch.bfloat16 if request.bfloat16 else x.dtype
    values = None
    if request.trace:
        shown = zip(plan.values, results[first:], strict=False)
        values = {name: (value if name in plan.states else value.detach()).to(dtype) for name, value in shown}
    taps = None if request.taps is None else dict(request.taps)
    if request.bfloat16:
        results = [result.to(dtype) for result in results[:first]]
    return Result(results[0], tuple(results[1:first]), values, taps)


def _zero_taps(request: Request) -> dict[str, Tensor]:
    """Zeros that take no memory, one for each pre-activation and for h and c."""
    x = request.like
    leading = (request.layers, request.directions, *request.leading)
    taps = {}
    for name in request.cell.tapped:
        # A gate of the cell may be called like one of its states; it is as wide as c then.
        width = request.hidden if name in request.cell.gates else request.width_of(name)
        taps[name] = x.new_zeros(()).expand(*leading, width).requires_grad_(torch.is_grad_enabled())
    return taps


def _in_its_type(request: Request, backend: Backend) -> Request:
    """Under autocast everything comes in its type, as PyTorch's layer has it; sums are kept in float32.

    The core has float32 in the place of bfloat16, so that no weight need be copied, and rounds by itself.
    """
    dtype = call_type(request)
    if dtype == torch.bfloat16 and isinstance(backend, NativeBackend):
        return replace(request.to(torch.float32), bfloat16=True)
    if dtype == torch.float64 or autocast_type(request.data.device) is None:
        return request
    return request.to(dtype)


def _with_masks(request: Request) -> Request:
    """With the factors of dropout in the place of its probability."""
    return request if request.dropout == 0 else replace(request, masks=_masks(request), dropout=0.0)


def _masks(request: Request) -> States:
    """Dropout between layers as factors, drawn in torch's order; of a packed sequence for its steps only."""
    if request.dropout == 0:
        return ()
    x, shape = request.like, (*request.leading, request.width * request.directions)
    between = range(request.layers - 1)
    return tuple([functional.dropout(x.new_ones(shape), request.dropout) for _ in between])


def _run_packed(request: Request, x: PackedSequence, backend: Backend, trace: TraceWish) -> Result:
    if request.lengths is not None:
        raise InputError(
            "got lengths together with a packed sequence, which carries its own; give one of them"
        )
    if _runs_by_itself(backend):
        if request.by_index and _readable(x.data):
            check_indices(request)
        if request.state is not None:
            request = replace(request, state=_permuted(request.state, x.sorted_indices))
        result = backend.run(request)
        state = _permuted(result.state, x.unsorted_indices)
        return Result(result.output, named_state(request.cell, state))
    return _as_padded(request, x, backend, trace)


def _as_padded(request: Request, x: PackedSequence, backend: Backend, trace: TraceWish) -> Result:
    """Padded in the caller's order, and packed again."""
    request = _in_its_type(request, backend)
    x = x._replace(data=request.data)
    padded, lengths = pad_packed_sequence(x)
    masks = tuple([pad_packed_sequence(x._replace(data=mask))[0] for mask in _masks(request)])
    whole = replace(request, x=padded, lengths=lengths, masks=masks, dropout=0.0)
    result = _through_operators(_checked(whole, padded), backend, trace)
    assert isinstance(result.output, Tensor)
    output = result.output
    if x.sorted_indices is not None:
        output, lengths = output.index_select(1, x.sorted_indices), lengths[x.sorted_indices.cpu()]
    packed = x._replace(data=pack_padded_sequence(output, lengths).data)
    return replace(result, output=packed, state=named_state(request.cell, result.state))


def _permuted(state: States, indices: Tensor | None) -> States:
    return state if indices is None else tuple(part.index_select(1, indices) for part in state)


def checked_lengths(lengths: Tensor, batch: int) -> Tensor:
    """Lengths as int64; their values are not looked at.

    Raises:
        InputError: not `[B]` integers.
    """
    if lengths.dtype == torch.bool or lengths.is_floating_point() or lengths.is_complex():
        raise InputError(f"lengths must be integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise InputError(f"lengths must have one entry per row, shape [{batch}], got {list(lengths.shape)}")
    return lengths.to(torch.int64)


def checked_reset(reset: Tensor, steps: int, batch: int) -> Tensor:
    """The reset itself.

    Raises:
        InputError: not bool `[T, B]`.
    """
    if reset.dtype != torch.bool:
        raise InputError(f"reset must be bool, true where a new sequence begins, got {reset.dtype}")
    if reset.shape != (steps, batch):
        raise InputError(
            f"reset must have one entry per step and row, shape [{steps}, {batch}], got {list(reset.shape)}"
        )
    return reset


class _Layer(Protocol):
    backend: str

    @property
    def request(self) -> Callable[..., Request]: ...


def explain(
    layer: _Layer,
    x: Tensor | PackedSequence,
    hx: States | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | None = None,
    return_trace: TraceWish = False,
) -> str:
    """Say which backend would run a call of the layer, and why not the others.

    Args:
        layer: a `holdfast.LSTM` or a `holdfast.LSTMCell`.
        x: what it would be called with; the rest, too, is as in the call.
        hx: the state that it starts from.
        lengths: not of a cell.
        reset: not of a cell.
        return_trace: not of a cell.

    Returns:
        One line per backend, the chosen one first.

    Raises:
        InputError: another kind of layer, or what the call itself refuses.
    """
    if not callable(getattr(layer, "request", None)):
        got = f"{type(layer).__module__}.{type(layer).__qualname__}"
        raise InputError(f"explain takes a holdfast.LSTM or a holdfast.LSTMCell, got a {got}")
    asked = {"lengths": lengths, "reset": reset, "return_trace": return_trace or None}
    request = layer.request(x, hx, **{name: given for name, given in asked.items() if given is not None})
    if isinstance(request.x, Tensor):
        _checked(request, request.x)
    return explanation(request, layer.backend)
