"""A call of the product, the same call by hand, and how far they may differ.

The rule: the largest difference from the float64 loop, relative to the largest float64 value, is at most
twice that of the same loop in the backend's own type, or 8 eps if that is more; for every output and every
gradient by name. A rounding error is luck, so the loop's own is looked for in up to sixteen draws of the
inputs and four orders of summation, one after the other until it is enough. In float64
the loop's own is that in float32, in units of eps, and is added once more, since the float64 loop that stands
for the truth has it too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache

import torch
from contract import loop
from contract.cases import (
    CLIP,
    DROPOUT,
    GAL,
    NOISE_SEED,
    SEMENIUTA,
    ZONEOUT,
    Case,
    leaves,
    lengths_of,
    reset_of,
    start_of,
    state_of,
    weights_of,
)
from contract.papers import Named
from tolerance import allowed_difference, largest_difference
from torch import Tensor

from holdfast.cells import Cell, get, modifiers
from holdfast.kernels import Request, Result, recurrence
from holdfast.kernels.choose import BACKENDS, refusal

SEEDS = (0, 1)
# Draws of the inputs and orders of summation over which the loop's own error is looked for.
TRIES = tuple(itertools.product(range(16), range(4)))
APPLIED: dict[str, Callable[[Case, Cell], Cell]] = {
    "clip": lambda case, cell: modifiers.clip(cell, CLIP),
    "semeniuta": lambda case, cell: modifiers.cell_dropout(cell, SEMENIUTA),
    "gal": lambda case, cell: modifiers.state_dropout(cell, GAL),
    "zoneout": lambda case, cell: modifiers.zoneout(cell, *probabilities(case)),
    "expected_zoneout": lambda case, cell: modifiers.expected_zoneout(cell, *probabilities(case)),
}


def probabilities(case: Case) -> tuple[float, float]:
    """Of zoneout on h and on c."""
    return ZONEOUT if "c" in case.paper.states else (ZONEOUT[0], 0.0)


@cache
def _modified(case: Case, order: tuple[str, ...]) -> Cell:
    cell = get(case.cell)
    for name in order:
        cell = APPLIED[name](case, cell)
    return cell


def cell_of(case: Case, order: tuple[str, ...] = tuple(APPLIED)) -> Cell:
    """The cell with the case's modifiers, applied in that order."""
    plain = Case(
        case.cell,
        **{name: getattr(case, name) for name in ("clip", "semeniuta", "gal", "zoneout", "expected_zoneout")},
    )
    return _modified(plain, tuple(name for name in order if getattr(case, name)))


def call(
    case: Case,
    named: Named,
    backend: str = "auto",
    *,
    cell: Cell | None = None,
    seed: int = NOISE_SEED,
    recompute: int | bool | None = None,
    trace: bool | str = False,
) -> Result:
    """The product's result."""
    torch.default_generator.manual_seed(loop.TORCH_SEED)
    return recurrence(
        cell or cell_of(case),
        named["x"],
        weights_of(case, named),
        state_of(case, named),
        lengths_of(case),
        reset_of(case),
        seed=torch.tensor(seed) if case.draws else None,
        start=start_of(case, named),
        dropout=DROPOUT if case.dropout else 0.0,
        residual=case.residual,
        recompute=recompute,
        trace=trace,
        backend=backend,
    )


def results_of(case: Case, result: Result) -> Named:
    """`output`, `h_n`, `c_n`, ..."""
    names = [f"{state}_n" for state in case.paper.states]
    return {"output": result.output, **dict(zip(names, result.state, strict=True))}  # type: ignore[dict-item]


def by_backend(case: Case, named: Named, backend: str) -> Named:
    return results_of(case, call(case, named, backend))


def by_hand(case: Case, named: Named, *, order: int = 0) -> Named:
    return loop.run(case, named, order=order).results


def supported(case: Case, backend_name: str, dtype: torch.dtype, recompute: int = 0) -> bool:
    named = leaves(case, dtype)
    request = Request(
        cell_of(case),
        named["x"],
        weights_of(case, named),
        state=state_of(case, named),
        lengths=lengths_of(case),
        reset=reset_of(case),
        start=start_of(case, named),
        dropout=DROPOUT if case.dropout else 0.0,
        residual=case.residual,
        recompute=recompute,
    )
    (backend,) = (backend for backend in BACKENDS if backend.name == backend_name)
    return refusal(backend, request) is None


@cache
def backends_of(case: Case, dtype: torch.dtype = torch.float64, recompute: int = 0) -> list[str]:
    """The names of those that run the case here, in that type."""
    return [backend.name for backend in BACKENDS if supported(case, backend.name, dtype, recompute)]


def loss_of(results: Named) -> Tensor:
    """A weighted sum of all of them; no weight is negative, so that few sums of the gradients cancel."""
    generator = torch.Generator().manual_seed(11)
    loss = torch.zeros((), dtype=torch.float64)
    for value in results.values():
        weight = 0.5 + torch.rand(value.shape, generator=generator, dtype=torch.float64)
        loss = loss + (value.double() * weight).sum()
    return loss


def with_gradients(results: Named, named: Named) -> Named:
    """Every result, and the gradient of a weighted sum of all of them to every input, as float64."""
    gradients = torch.autograd.grad(
        loss_of(results), list(named.values()), allow_unused=True, materialize_grads=True
    )
    found = results | {f"grad {name}": gradient for name, gradient in zip(named, gradients, strict=True)}
    return {name: value.detach().double() for name, value in found.items()}


def traced_by_hand(case: Case, named: Named, *, order: int = 0) -> Named:
    """The value trace and the gradient trace, as float64."""
    done = loop.run(case, named, order=order)
    gradients = loop.gradient_trace_of(case, done, loss_of(done.results))
    found = prefixed("trace", loop.trace_of(case, done)) | prefixed("grad trace", gradients)
    return {name: value.detach().double() for name, value in found.items()}


def traced_by_backend(case: Case, named: Named) -> Named:
    result = call(case, named, trace="gradients")
    assert result.trace is not None
    assert result.taps is not None
    loss_of(results_of(case, result)).backward()
    gradients = {name: tap.grad for name, tap in result.taps.items()}
    found = prefixed("trace", result.trace) | prefixed("grad trace", gradients)
    return {name: value.detach().double() for name, value in found.items()}


def through_trace_by_hand(case: Case, named: Named, *, order: int = 0) -> Named:
    """The states in the trace, and the gradients of a sum of them alone."""
    done = loop.run(case, named, order=order)
    return with_gradients(loop.trace_of(case, done, case.paper.states), named)


def through_trace_by_backend(case: Case, named: Named) -> Named:
    trace = call(case, named, trace=True).trace
    assert trace is not None
    return with_gradients({name: trace[name] for name in case.paper.states}, named)


def prefixed(word: str, named: Named) -> Named:
    return {f"{word} {name}": value for name, value in named.items()}


def untraced_by_hand(case: Case, named: Named, *, order: int = 0) -> Named:
    return with_gradients(by_hand(case, named, order=order), named)


def untraced_by_backend(case: Case, backend: str, named: Named) -> Named:
    return with_gradients(by_backend(case, named, backend), named)


ByHand = Callable[..., Named]
Numbers = Callable[[Case, torch.dtype, int], Named]


@cache
def exact(case: Case, dtype: torch.dtype, seed: int, what: ByHand, numbers: Numbers) -> Named:
    """The loop in float64 over the numbers of that type."""
    given = numbers(case, dtype, seed)
    return what(case, {name: value.detach().double().requires_grad_() for name, value in given.items()})


@cache
def rounding_errors(
    case: Case, dtype: torch.dtype, what: ByHand, numbers: Numbers, seed: int, order: int
) -> dict[str, float]:
    """By name, the error of the loop by hand in that type, for one draw and one order of summation."""
    found = what(case, numbers(case, dtype, seed), order=order)
    expected = exact(case, dtype, seed, what, numbers)
    return {name: largest_difference(found[name], value) for name, value in expected.items()}


def growing_bounds(
    case: Case,
    dtype: torch.dtype,
    what: ByHand,
    numbers: Numbers,
    name: str,
    tries: tuple[tuple[int, int], ...],
) -> Iterator[float]:
    """How far a result of that name may be from the float64 loop, over more and more errors of the loop."""
    yield allowed_difference(0.0, dtype)
    in_eps, measured, own = 1.0, dtype, 0.0
    if dtype == torch.float64:
        in_eps, measured = torch.finfo(dtype).eps / torch.finfo(torch.float32).eps, torch.float32
    for seed, order in tries:
        found = rounding_errors(case, measured, what, numbers, seed, order)[name] * in_eps
        own = max(own, found)
        yield allowed_difference(own, dtype) + (own if dtype == torch.float64 else 0.0)


def check(
    case: Case,
    dtype: torch.dtype,
    what: ByHand,
    found: Callable[[Named], Named],
    numbers: Numbers = leaves,
    seeds: tuple[int, ...] = SEEDS,
    tries: tuple[tuple[int, int], ...] = TRIES,
) -> None:
    """By the one rule, for each draw and each name."""
    for seed in seeds:
        values = found(numbers(case, dtype, seed))
        expected = exact(case, dtype, seed, what, numbers)
        assert values.keys() == expected.keys()
        for name, value in expected.items():
            assert values[name].shape == value.shape, name
            difference, bound = largest_difference(values[name], value), 0.0
            # Most stop at the first bound and need no look at the loop's own error.
            for bound in growing_bounds(case, dtype, what, numbers, name, tries):
                if difference <= bound:
                    break
            else:
                raise AssertionError(f"{name}: {difference:.3g} from float64, {bound:.3g} allowed")
