"""Autograd around the opaque operators: one backward pass is one operator.

It is said three times. To compilers by `register_autograd`, so that they see the operators alone. In eager
mode by autograd functions of the form that `torch.func` takes apart: there, differentiating the backward pass
re-runs the reference, which is made of torch's own operations, and vmap over samples or weights loops. And
where nothing but autograd looks, by `EagerRecurrence`, which calls the backend without any operator between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.errors import InputError
from holdfast.kernels.choose import backend_named
from holdfast.kernels.interface import Request, Upstream, Wanted
from holdfast.kernels.operators import (
    DIFFERENTIABLE,
    KINDS,
    Plan,
    backward_operator,
    by_kind,
    forward_operator,
    rebuilt,
    run_backward,
    run_forward,
)
from holdfast.kernels.stack import Stack

Tensors = tuple[Tensor, ...]
_PLAIN_TENSORS = frozenset({Tensor, torch.nn.Parameter})
_PLAIN = 7  # so many arguments of the operators, and fields of a plan, come before their tensors


def _of_plan(plan: Plan, tensors: Sequence[Any]) -> dict[str, list[Any]]:
    """The tensors of a plan, kind by kind."""
    left = iter(tensors)
    return {kind: [next(left) for _ in range(count)] for kind, count in zip(KINDS, plan.counts, strict=True)}


def _arguments(plan: Plan, tensors: Sequence[Tensor]) -> list[Any]:
    """What both operators begin with."""
    kinds = _of_plan(plan, tensors)
    single = [kinds[kind][0] if kinds[kind] else None for kind in KINDS[:4]]
    lists = [kinds[kind] for kind in KINDS[4:]]
    return [*plan[:_PLAIN], *single, *lists]


def _request_of(plan: Plan, tensors: Mapping[str, Sequence[Tensor]]) -> Request:
    return rebuilt(
        plan.cell, plan.layers, plan.directions, plan.residual, plan.recompute, plan.bfloat16, tensors
    )


def _reaching(plan: Plan, upstream: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Of the gradients of the forward operator's results those that flow back: of output, state, traces."""
    first = 1 + len(plan.states)
    traces = [upstream[first + plan.values.index(state)] for state in plan.states] if plan.trace else []
    return [*upstream[:first], *traces]


def _gradients(plan: Plan, found: Sequence[Tensor], wanted: Wanted) -> dict[str, list[Tensor | None]]:
    """What the backward operator gives, kind by kind; None for what has no gradient or needs none."""
    left = iter(found)
    gradients: dict[str, list[Tensor | None]] = {}
    for kind, count in zip(KINDS, plan.counts, strict=True):
        own = [next(left) if kind in DIFFERENTIABLE else None for _ in range(count)]
        gradients[kind] = own if wanted.includes(kind) else [None] * count
    return gradients


def watched(tensors: Sequence[Tensor]) -> bool:
    """Whether something besides autograd looks at a call, so that the operators must be called as such.

    A compiler, a transform, forward-mode autograd, a mode, a profiler, or a tensor that is more than its
    numbers.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._autograd._profiler_enabled()
        or torch.autograd.forward_ad._current_level >= 0
        or any(type(tensor) not in _PLAIN_TENSORS or tensor.is_neg() for tensor in tensors)
    )


def applied(function: type[torch.autograd.Function], *arguments: Any) -> Tensors:
    """`function.apply`, which PyTorch leaves without types."""
    results: Tensors = function.apply(*arguments)
    return results


def forward(plan: Plan, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The forward operator, without autograd."""
    results: list[Tensor] = forward_operator(*_arguments(plan, tensors), plan.keep)
    return results


def _setup_operator(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """For `register_autograd`: what the operator was called with, as a plan and its tensors."""
    *plain, keep = inputs
    spec, backend, layers, directions, residual, recompute, bfloat16 = plain[:_PLAIN]
    if not keep:
        raise RuntimeError("holdfast::forward was called without keep=True, so it cannot be differentiated")
    cell, kinds = Cell.of(spec), by_kind(plain[_PLAIN:])
    kept = output[1 + len(cell.states) :]
    counts = tuple(len(kind) for kind in kinds.values())
    shown = bool(kept) and not recompute  # checkpoints are no trace
    ctx.plan = Plan(
        spec,
        backend,
        layers,
        directions,
        residual,
        recompute,
        bfloat16,
        keep,
        shown,
        cell.states,
        tuple(cell.values),
        counts,
    )
    ctx.save_for_backward(*(tensor for kind in kinds.values() for tensor in kind), *kept)


def _backward_operator(ctx: Any, upstream: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """For `register_autograd`: the gradients of the operator's arguments, in their order."""
    plan: Plan = ctx.plan
    own = sum(plan.counts)
    tensors, kept = ctx.saved_tensors[:own], list(ctx.saved_tensors[own:])
    first = 1 + len(plan.states)
    reaching = _reaching(plan, upstream)
    needs = dict(zip(KINDS, ctx.needs_input_grad[_PLAIN:], strict=False))
    wanted = Wanted(bool(needs["x"]), any(needs["weights"]))
    found = backward_operator(
        *_arguments(plan, tensors), kept, reaching[0], reaching[1:first], reaching[first:], *wanted
    )
    gradients = _gradients(plan, found, wanted)
    lists = [gradients[kind] for kind in KINDS[4:]]
    return (*[None] * _PLAIN, gradients["x"][0], None, None, None, *lists, None)


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
        reaching = _reaching(plan, upstream)
        present = tuple([gradient is not None for gradient in reaching])
        given = [gradient for gradient in reaching if gradient is not None]
        kinds = _of_plan(plan, ctx.needs_input_grad[1:])
        wanted = Wanted(kinds["x"][0], any(kinds["weights"]))
        found = applied(RecurrenceBackward, plan, present, wanted, *ctx.saved_tensors, *given)
        return (None, *(one for own in _gradients(plan, found, wanted).values() for one in own))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], plan: Plan, *tensors: Tensor) -> tuple[Tensors, Any]:
        return _looped(Recurrence, info, in_dims[1:], (plan,), tensors)


class EagerRecurrence(torch.autograd.Function):
    """`apply(request, plan, *tensors)`: the same where nothing but autograd looks, past the dispatcher.

    What is kept is no result then, unless a trace shows it.
    """

    @staticmethod
    def forward(ctx: Any, request: Request, plan: Plan, *tensors: Tensor) -> Tensors:
        results = tuple(run_forward(backend_named(plan.backend), request, plan.keep, tensors))
        if plan.trace:
            Recurrence.setup_context(ctx, (plan, *tensors), results)
            return results
        first = 1 + len(plan.states)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *results[first:])
        ctx.plan = plan
        return results[:first]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        reaching = _reaching(plan, upstream)
        kinds = _of_plan(plan, ctx.needs_input_grad[2:])
        wanted = Wanted(kinds["x"][0], any(kinds["weights"]))
        found = _differentiated(plan, wanted, ctx.saved_tensors, reaching)
        return (None, None, *(one for own in _gradients(plan, found, wanted).values() for one in own))


def _differentiated(
    plan: Plan, wanted: Wanted, saved: Tensors, reaching: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    """The backward operator, differentiable where autograd asks for it."""
    given = [gradient for gradient in reaching if gradient is not None]
    if torch.is_grad_enabled() or watched([*saved, *given]):
        present = tuple([gradient is not None for gradient in reaching])
        return applied(RecurrenceBackward, plan, present, wanted, *saved, *given)
    own, first = sum(plan.counts), 1 + len(plan.states)
    request = _request_of(plan, _of_plan(plan, saved[:own]))
    values = {
        state: value for state, value in zip(plan.states, reaching[first:], strict=False) if value is not None
    }
    upstream = Upstream(reaching[0], reaching[1:first], values)
    return run_backward(backend_named(plan.backend), request, saved[own:], upstream, wanted, [*saved, *given])


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
    kinds = _of_plan(plan, own)
    by_index = not kinds["x"][0].is_floating_point()  # x has no gradient then
    differentiable = DIFFERENTIABLE[1:] if by_index else DIFFERENTIABLE
    inputs = [tensor for kind in differentiable for tensor in kinds[kind]]

    def results(*given: Tensor) -> list[Tensor]:
        left = iter(given)
        tensors = {
            kind: [next(left) for _ in several] if kind in differentiable else several
            for kind, several in kinds.items()
        }
        request = _request_of(plan, tensors)
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
        for gradient, other in zip(first, second[1:] if by_index else second, strict=True)
    )
    to_inputs, to_upstream = pull(reaching_first)
    left = iter(to_inputs)
    ordered = [next(left) if kind in differentiable else None for kind in KINDS for _ in kinds[kind]]
    return ordered, list(to_upstream)
