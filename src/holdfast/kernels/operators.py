"""The opaque operators: one forward, one backward, whatever the backend.

`torch.ops.holdfast.forward` and `.backward` take tensors, numbers and names only, and have rules for fake
tensors: compilers and exporters see one node whose T and B stay open. `differentiation.py` has the autograd
around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.cells.modifiers import PROJECTION
from holdfast.errors import InputError
from holdfast.kernels.checkpoints import count_while_recorded
from holdfast.kernels.choose import backend_named
from holdfast.kernels.indices import check_indices
from holdfast.kernels.interface import (
    Backend,
    Forward,
    Gradients,
    Request,
    Upstream,
    Wanted,
    autocast_type,
    step_cell,
)
from holdfast.kernels.stack import computing_type


class Plan(NamedTuple):
    """What of a call is not a tensor, and how its tensors are told apart.

    Attributes:
        cell: the `spec` of its cell.
        backend: the name of the backend that runs it.
        layers, directions: L and D.
        residual, recompute, bfloat16: as in `Request`.
        keep: whether the forward pass keeps what the backward pass needs.
        trace: whether the kept states are results that gradients reach.
        states, values: the names of its cell's.
        counts: how many tensors it has of each kind, in the order of `KINDS`.
    """

    cell: str
    backend: str
    layers: int
    directions: int
    residual: bool
    recompute: int
    bfloat16: bool
    keep: bool
    trace: bool
    states: tuple[str, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]


_AS_IT_IS = nullcontext()
KINDS = ("x", "lengths", "reset", "seed", "weights", "state", "start", "masks", "taps", "entries")
DIFFERENTIABLE = ("x", "weights", "state", "start", "taps")

_ARGUMENTS = (
    "str cell, str backend, int layers, int directions, bool residual, int recompute, bool bfloat16, "
    "Tensor x, Tensor? lengths, Tensor? reset, Tensor? seed, Tensor[] weights, Tensor[] state, "
    "Tensor[] start, Tensor[] masks, Tensor[] taps, Tensor[] entries"
)


def tensors_of(request: Request) -> list[Sequence[Tensor]]:
    """Those of a request whose x is a tensor, kind by kind."""
    names = weight_names(request.cell, len(request.weights[0][0]))
    return [
        [request.data],
        *([] if one is None else [one] for one in (request.lengths, request.reset, request.seed)),
        [own[name] for layer in request.weights for own in layer for name in names],
        *(several or () for several in (request.state, request.start, request.masks)),
        [request.taps[name] for name in request.cell.tapped] if request.taps else (),
        request.entries,
    ]


def planned(
    request: Request, kinds: Sequence[Sequence[Tensor]], backend: str, *, keep: bool, trace: bool
) -> Plan:
    """What else there is to a request than its tensors, which are `kinds`."""
    return Plan(
        request.cell.spec,
        backend,
        request.layers,
        request.directions,
        request.residual,
        request.recompute,
        request.bfloat16,
        keep,
        trace,
        request.cell.states,
        tuple(request.cell.values),
        tuple([len(kind) for kind in kinds]),
    )


def weight_names(cell: Cell, count: int) -> list[str]:
    """The names of one direction's weights, in order; their number tells which of them there are."""
    own = [parameter.name for parameter in cell.parameters]
    more = count - len(own) - 2
    biases = ["bias_ih", "bias_hh"] if more >= 2 else []
    return ["weight_ih", "weight_hh", *biases, *([PROJECTION] if more % 2 else []), *own]


def rebuilt(
    plan_cell: str,
    layers: int,
    directions: int,
    residual: bool,
    recompute: int,
    bfloat16: bool,
    tensors: Mapping[str, Sequence[Tensor]],
) -> Request:
    """The request that these came from."""
    cell = Cell.of(plan_cell)
    weights = list(tensors["weights"])
    count = len(weights) // (layers * directions)
    names = weight_names(cell, count)
    flat = [dict(zip(names, weights[k : k + count], strict=True)) for k in range(0, len(weights), count)]
    one = {kind: (tensors[kind][0] if tensors[kind] else None) for kind in ("lengths", "reset", "seed")}
    return Request(
        cell,
        tensors["x"][0],
        [flat[k : k + directions] for k in range(0, len(flat), directions)],
        tuple(tensors["state"]) or None,
        one["lengths"],
        one["reset"],
        tuple(tensors["start"]) or None,
        one["seed"],
        masks=tuple(tensors["masks"]),
        residual=residual,
        recompute=recompute,
        bfloat16=bfloat16,
        taps=dict(zip(cell.tapped, tensors["taps"], strict=True)) if tensors["taps"] else None,
        entries=tuple(tensors["entries"]),
    )


def by_kind(arguments: Sequence[Any]) -> dict[str, Sequence[Tensor]]:
    """The tensors of an operator's arguments by kind, each kind as a list."""
    x, lengths, reset, seed, *lists = arguments
    single = [[] if one is None else [one] for one in (lengths, reset, seed)]
    return dict(zip(KINDS, [[x], *single, *lists], strict=True))


@torch.library.custom_op(
    "holdfast::forward", mutates_args=(), schema=f"({_ARGUMENTS}, bool keep) -> Tensor[]"
)
def forward_operator(
    cell: str,
    backend: str,
    layers: int,
    directions: int,
    residual: bool,
    recompute: int,
    bfloat16: bool,
    *rest: Any,
) -> list[Tensor]:
    """The results, then what is kept: output, state, values, parts, or checkpoints; see `Forward`."""
    *tensors, keep = rest
    request = rebuilt(cell, layers, directions, residual, recompute, bfloat16, by_kind(tensors))
    if request.lengths is not None and request.lengths.device.type == "cpu":
        check_range(request.lengths, request.data.size(0))  # which a caller that is compiled could not do
    if request.by_index and request.data.device.type == "cpu":
        check_indices(request)
    return run_forward(backend_named(backend), request, keep, _flat(tensors))


def run_forward(backend: Backend, request: Request, keep: bool, given: Iterable[Tensor]) -> list[Tensor]:
    """What the forward operator does with the request of the `given` tensors."""
    with _without_autocast(request.data.device):
        result = backend.forward(request, keep)
    kept = _flat_kept(request, result, backend)
    if backend.gives_new_tensors:
        return [result.output, *result.state, *kept]
    # Views of what nobody else holds: autograd would not let the caller change them in place.
    own = (part.clone() if part._is_view() else part for part in (result.output, *result.state))
    return list(_apart((*own, *kept), given))


@forward_operator.register_fake
def _(
    cell: str,
    backend: str,
    layers: int,
    directions: int,
    residual: bool,
    recompute: int,
    bfloat16: bool,
    *rest: Any,
) -> list[Tensor]:
    *tensors, keep = rest
    request = rebuilt(cell, layers, directions, residual, recompute, bfloat16, by_kind(tensors))
    x = request.like
    steps, batch = request.leading
    results = [x.new_empty(steps, batch, directions * request.width)]
    results += [
        x.new_empty(layers * directions, batch, request.width_of(name)) for name in request.cell.states
    ]
    own = backend_named(backend)
    if keep and own.keeps(request):
        dtype = computing_type(x.dtype)
        results += [x.new_empty(shape, dtype=dtype) for shape in _kept_shapes(request, own)]
    return results


@torch.library.custom_op(
    "holdfast::backward",
    mutates_args=(),
    schema=f"({_ARGUMENTS}, Tensor[] kept, Tensor? d_output, Tensor?[] d_state, Tensor?[] d_values, "
    "bool wants_x, bool wants_weights) -> Tensor[]",
)
def backward_operator(
    cell: str,
    backend: str,
    layers: int,
    directions: int,
    residual: bool,
    recompute: int,
    bfloat16: bool,
    *rest: Any,
) -> list[Tensor]:
    """The gradients of the differentiable arguments, in their order; empty where they are not wanted."""
    *tensors, kept, d_output, d_state, d_values, wants_x, wants_weights = rest
    wanted = Wanted(wants_x, wants_weights)
    request = rebuilt(cell, layers, directions, residual, recompute, bfloat16, by_kind(tensors))
    upstream = Upstream(
        d_output,
        d_state or [None] * len(request.cell.states),
        {
            name: value
            for name, value in zip(request.cell.states, d_values, strict=False)
            if value is not None
        },
    )
    given = _flat([tensors, d_output, d_state, d_values])
    return run_backward(backend_named(backend), request, kept, upstream, wanted, given)


def run_backward(
    backend: Backend,
    request: Request,
    kept: Sequence[Tensor],
    upstream: Upstream,
    wanted: Wanted,
    given: Iterable[Tensor],
) -> list[Tensor]:
    """What the backward operator does with the request of the `given` tensors."""
    with _without_autocast(request.data.device):
        found = backend.backward(request, _kept(request, kept, backend), upstream, wanted)
    gradients = _in_order(request, found, wanted)
    if backend.gives_new_tensors:
        return list(gradients)
    return list(_apart(gradients, given, _columnwise(request) if wanted.weights else ()))


@backward_operator.register_fake
def _(
    cell: str,
    backend: str,
    layers: int,
    directions: int,
    residual: bool,
    recompute: int,
    bfloat16: bool,
    *rest: Any,
) -> list[Tensor]:
    *tensors, _kept, _d_output, _d_state, _d_values, wants_x, wants_weights = rest
    kinds, wanted = by_kind(tensors), Wanted(wants_x, wants_weights)
    request = rebuilt(cell, layers, directions, residual, recompute, bfloat16, kinds)
    gradients = [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        if wanted.includes(kind)
        else request.like.new_empty(0)
        for kind in DIFFERENTIABLE
        for tensor in kinds[kind]
    ]
    for place in _columnwise(request) if wanted.weights else ():
        rows = gradients[place].t()
        gradients[place] = torch.empty_like(rows, memory_format=torch.contiguous_format).t()
    return gradients


def _columnwise(request: Request) -> list[int]:
    """Which gradients lie column by column, see `Request`; the first one is that of x."""
    count = len(request.weights[0][0])
    return [1 + d * count for d in range(request.directions) if request.columnwise(d)]


def _flat_kept(request: Request, result: Forward, backend: Backend) -> list[Tensor]:
    if request.recompute:
        passed = [] if result.passed is None else [result.passed]
        return [*(result.checkpoints[name] for name in request.cell.states if result.checkpoints), *passed]
    found = {**result.values, **result.parts}
    return [found[name] for name in _kept_widths(request, backend)] if found else []


def _kept_shapes(request: Request, backend: Backend) -> list[tuple[int, ...]]:
    """Of what `_flat_kept` gives."""
    layers, directions, steps, batch = request.layers, request.directions, request.data.size(0), request.batch
    if not request.recompute:
        widths = _kept_widths(request, backend).values()
        return [(layers, directions, steps, batch, width) for width in widths]
    several = count_while_recorded(request.recompute, steps)
    of_states = [request.width_of(state) for state in request.cell.states]
    shapes: list[tuple[int, ...]] = [(layers, directions, several, batch, width) for width in of_states]
    return [*shapes, *[(layers - 1, steps, batch, directions * request.width)] * (layers > 1)]


def _kept(request: Request, kept: Sequence[Tensor], backend: Backend) -> Forward:
    if request.recompute:
        passed = kept[len(request.cell.states) :]
        checkpoints = dict(zip(request.cell.states, kept, strict=False))
        return Forward(request.data, (), checkpoints=checkpoints, passed=passed[0] if passed else None)
    found = dict(zip(_kept_widths(request, backend), kept, strict=True)) if kept else {}
    parts = {*step_cell(request).kept_parts, *backend.keeps_besides(request)}
    return Forward(
        request.data,
        (),
        {name: value for name, value in found.items() if name not in parts},
        {name: value for name, value in found.items() if name in parts},
    )


def _kept_widths(request: Request, backend: Backend) -> dict[str, int]:
    """What is kept, in order, and how wide it is.

    The values that the cell itself names, those that the call adds, the parts, and what the backend keeps
    besides.
    """
    step, own = step_cell(request), list(request.cell.values)
    names = [*own, *(name for name in step.values if name not in own), *step.kept_parts]
    return {**{name: request.width_of(name) for name in names}, **backend.keeps_besides(request)}


def _in_order(request: Request, found: Gradients, wanted: Wanted) -> Iterator[Tensor]:
    """As the differentiable arguments are; without those that were not given."""
    nothing = request.like.new_empty(0)
    yield found.x if wanted.x and found.x is not None else nothing.clone()
    names = weight_names(request.cell, len(request.weights[0][0]))
    for gradients in found.weights:
        for d_own in gradients:
            yield from (d_own[name] if wanted.weights else nothing.clone() for name in names)
    yield from found.state if request.state is not None else ()
    yield from found.start if request.start is not None else ()
    yield from found.taps.values()


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """What comes in has autocast's type already; inside, sums are kept in float32."""
    return _AS_IT_IS if autocast_type(device) is None else torch.autocast(device.type, enabled=False)


def _flat(arguments: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among an operator's arguments."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _flat(argument)


def _apart(
    results: Iterable[Tensor], given: Iterable[Tensor], columnwise: Sequence[int] = ()
) -> Iterator[Tensor]:
    """An operator's results may share memory neither with each other nor with what it was given.

    They are dense, in those places column by column.
    """
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    for place, result in enumerate(results):
        memory = result.untyped_storage().data_ptr()
        dense = result.t().contiguous().t() if place in columnwise else result.contiguous()
        yield result.clone() if memory in taken else dense
        taken.add(memory)


def check_range(lengths: Tensor, steps: int) -> int:
    """The least of lengths whose values can be looked at, T of none; all lie between 0 and T.

    Raises:
        InputError: they do not.
    """
    if lengths.numel() == 0:
        return steps
    least, most = map(int, torch.aminmax(lengths))
    if not 0 <= least <= most <= steps:
        raise InputError(f"lengths must lie between 0 and T = {steps}, got {least} to {most}")
    return least
