"""Autograd around the opaque operators: one backward pass is one operator.

It is said twice. To compilers by `register_autograd`, so that they see the operators alone; in eager mode by
autograd functions of the form that `torch.func` takes apart. There, differentiating the backward pass re-runs
the reference, which is made of torch's own operations, and vmap over samples or weights loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.errors import InputError
from holdfast.kernels.interface import Wanted
from holdfast.kernels.operators import (
    DIFFERENTIABLE,
    KINDS,
    Plan,
    backward_operator,
    forward_operator,
    rebuilt,
)
from holdfast.kernels.stack import Stack

Tensors = tuple[Tensor, ...]


def by_kind(plan: Plan, tensors: Sequence[Any]) -> dict[str, list[Any]]:
    """The tensors of a plan, kind by kind."""
    found, start = {}, 0
    for kind, count in zip(KINDS, plan.counts, strict=True):
        found[kind] = list(tensors[start : start + count])
        start += count
    return found


def _arguments(plan: Plan, tensors: Sequence[Tensor]) -> list[Any]:
    """What both operators begin with."""
    kinds = by_kind(plan, tensors)
    single = [kinds[kind][0] if kinds[kind] else None for kind in KINDS[:4]]
    lists = [kinds[kind] for kind in KINDS[4:]]
    return [plan.cell, plan.backend, plan.layers, plan.directions, plan.residual, *single, *lists]


def applied(function: type[torch.autograd.Function], *arguments: Any) -> Tensors:
    """`function.apply`, which PyTorch leaves without types."""
    results: Tensors = function.apply(*arguments)
    return results


def forward(plan: Plan, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The forward operator, without autograd."""
    results: list[Tensor] = forward_operator(*_arguments(plan, tensors), plan.keep)
    return results


def _setup_operator(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """For `register_autograd`: what the operator was called with, as it was called."""
    *arguments, keep = inputs
    if not keep:
        raise RuntimeError("holdfast::forward was called without keep=True, so it cannot be differentiated")
    plain, x, one, several = arguments[:5], arguments[5], arguments[6:9], arguments[9:]
    ctx.plain, ctx.counts = plain, [len(tensors) for tensors in several]
    ctx.there = [tensor is not None for tensor in one]
    ctx.states = len(Cell.of(plain[0]).states)
    given = [tensor for tensor in one if tensor is not None]
    flat = [tensor for tensors in several for tensor in tensors]
    ctx.save_for_backward(x, *given, *flat, *output[1 + ctx.states :])


def _backward_operator(ctx: Any, upstream: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """For `register_autograd`: the gradients of the operator's arguments, in their order."""
    left = iter(ctx.saved_tensors)
    x = next(left)
    one = [next(left) if there else None for there in ctx.there]
    several = [[next(left) for _ in range(count)] for count in ctx.counts]
    kept = list(left)
    cell, first = Cell.of(ctx.plain[0]), 1 + ctx.states
    traces = [upstream[first + list(cell.values).index(state)] for state in cell.states] if kept else []
    place = len(ctx.plain)
    needed = ctx.needs_input_grad[place + 4]
    wanted = Wanted(bool(ctx.needs_input_grad[place]), any(needed) if isinstance(needed, list) else needed)
    d_x, *rest = backward_operator(
        *ctx.plain, x, *one, *several, kept, upstream[0], list(upstream[1:first]), traces, *wanted
    )
    gradients: list[Any] = []
    for kind, count in zip(KINDS[4:], ctx.counts, strict=True):
        own = [rest.pop(0) if kind in DIFFERENTIABLE else None for _ in range(count)]
        gradients.append(own if wanted.weights or kind != "weights" else [None] * count)
    return (*(None for _ in ctx.plain), d_x if wanted.x else None, None, None, None, *gradients, None)


forward_operator.register_autograd(_backward_operator, setup_context=_setup_operator)


class Recurrence(torch.autograd.Function):
    """`apply(plan, *tensors)`: the results of the forward operator, as a tuple."""

    @staticmethod
    def forward(plan: Plan, *tensors: Tensor) -> Tensors:
        return tuple(forward(plan, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        plan, *tensors = inputs
        kept = output[1 + len(plan.states) :]
        shown = [k for k, name in enumerate(plan.values) if plan.trace and name in plan.states]
        ctx.mark_non_differentiable(*[value for k, value in enumerate(kept) if k not in shown])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *kept)
        ctx.plan = plan

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        first = 1 + len(plan.states)
        reaching = list(upstream[:first])
        if plan.trace:
            reaching += [upstream[first + plan.values.index(state)] for state in plan.states]
        present = tuple([gradient is not None for gradient in reaching])
        given = [gradient for gradient in reaching if gradient is not None]
        needed = by_kind(plan, ctx.needs_input_grad[1:])
        wanted = Wanted(needed["x"][0], any(needed["weights"]))
        found: list[Tensor | None] = list(
            applied(RecurrenceBackward, plan, present, wanted, *ctx.saved_tensors, *given)
        )
        wishes = {"x": wanted.x, "weights": wanted.weights}
        gradients: list[Tensor | None] = []
        for kind, count in zip(KINDS, plan.counts, strict=True):
            own = [found.pop(0) if kind in DIFFERENTIABLE else None for _ in range(count)]
            gradients += own if wishes.get(kind, True) else [None] * count
        return (None, *gradients)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], plan: Plan, *tensors: Tensor) -> tuple[Tensors, Any]:
        return _looped(Recurrence, info, in_dims[1:], (plan,), tensors)


class RecurrenceBackward(torch.autograd.Function):
    """`apply(plan, present, wanted, *tensors, *kept, *upstream)`: the gradients of the tensors."""

    @staticmethod
    def forward(plan: Plan, present: tuple[bool, ...], wanted: Wanted, *tensors: Tensor) -> Tensors:
        own, kept, upstream = _apart(plan, present, tensors)
        first = 1 + len(plan.states)
        arguments = _arguments(plan, own)
        results = backward_operator(
            *arguments, kept, upstream[0], upstream[1:first], upstream[first:], *wanted
        )
        return tuple(results)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.plan, ctx.present, ctx.wanted, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *second: Tensor | None) -> tuple[Tensor | None, ...]:
        own, kept, upstream = _apart(ctx.plan, ctx.present, ctx.saved_tensors)
        given = [gradient for gradient in upstream if gradient is not None]
        gradients = _second_order(ctx.plan, own, ctx.present, given, ctx.wanted, second)
        own_gradients, upstream_gradients = gradients
        return (None, None, None, *own_gradients, *(None for _ in kept), *upstream_gradients)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        plan: Plan,
        present: tuple[bool, ...],
        wanted: Wanted,
        *tensors: Tensor,
    ) -> tuple[Tensors, Any]:
        return _looped(RecurrenceBackward, info, in_dims[3:], (plan, present, wanted), tensors)


def _apart(
    plan: Plan, present: tuple[bool, ...], tensors: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor], list[Tensor | None]]:
    """The call's own tensors, what was kept, and the upstream gradients with None for those not there."""
    own, last = sum(plan.counts), len(tensors) - sum(present)
    given = iter(tensors[last:])
    return tensors[:own], tensors[own:last], [next(given) if there else None for there in present]


def _looped(
    function: type[torch.autograd.Function],
    info: Any,
    in_dims: tuple[Any, ...],
    plain: tuple[Any, ...],
    tensors: Tensors,
) -> tuple[Tensors, tuple[int, ...]]:
    """Run the function for one element of the batch after the other."""
    if info.batch_size == 0:
        raise InputError("torch.func.vmap over a dimension of size 0: there is nothing to run")
    results = [
        applied(
            function,
            *plain,
            *(
                tensor if dim is None else tensor.select(dim, k)
                for tensor, dim in zip(tensors, in_dims, strict=True)
            ),
        )
        for k in range(info.batch_size)
    ]
    stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _second_order(
    plan: Plan,
    own: Sequence[Tensor],
    present: tuple[bool, ...],
    upstream: list[Tensor],
    wanted: Wanted,
    second: tuple[Tensor | None, ...],
) -> tuple[list[Tensor | None], list[Tensor]]:
    """The gradients of the backward pass to the call's tensors and to the upstream gradients."""
    kinds = by_kind(plan, own)
    inputs = [tensor for kind in DIFFERENTIABLE for tensor in kinds[kind]]

    def results(*given: Tensor) -> list[Tensor]:
        left = iter(given)
        tensors = {
            kind: [next(left) for _ in several] if kind in DIFFERENTIABLE else several
            for kind, several in kinds.items()
        }
        request = rebuilt(plan.cell, plan.layers, plan.directions, plan.residual, tensors)
        found = Stack(request).forward(plan.trace)
        traces = [found.values[state] for state in plan.states] if plan.trace else []
        everything = [found.output, *found.state, *traces]
        return [result for result, there in zip(everything, present, strict=True) if there]

    def gradients(given: tuple[Tensor, ...], reaching: list[Tensor]) -> tuple[Tensor, ...]:
        pull: Any = torch.func.vjp(results, *given)[1]
        return tuple(pull(reaching))

    first, pull, *_ = torch.func.vjp(gradients, tuple(inputs), upstream)
    # What was not wanted has an empty gradient, and nothing reaches that.
    reaching_first = tuple(
        torch.zeros_like(gradient) if other is None or other.shape != gradient.shape else other
        for gradient, other in zip(first, second, strict=True)
    )
    to_inputs, to_upstream = pull(reaching_first)
    left = iter(to_inputs)
    ordered = [next(left) if kind in DIFFERENTIABLE else None for kind in KINDS for _ in kinds[kind]]
    return ordered, list(to_upstream)
