"""Cells of a user's own that need all that the core has room for: they run, and one more is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerance import largest_difference

import holdfast
from holdfast.cells import Cell, Expression, Parameter, named, normalise, product, sigmoid, tanh
from holdfast.cells.core import _MEANINGS, LIMITS
from holdfast.cells.own_cell import own_variants
from holdfast.kernels import native

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation
Values = dict[str, Expression]


def with_arguments(names: list[str], function: Callable[..., Values]) -> Callable[..., Values]:
    """A function of so many arguments, which it hands on by name."""
    scope: dict[str, Any] = {"function": function}
    exec(
        f"def step({', '.join(names)}): return function(dict({', '.join(f'{n}={n}' for n in names)}))", scope
    )
    step: Callable[..., Values] = scope["step"]
    return step


def pointwise(gates: int, states: int, rows: int, values: int) -> Cell:
    """Fused: every gate, state and row is read, and every value is kept and read by the next one.

    Args:
        gates: how many.
        states: how many, h among them.
        rows: of parameters, at least one.
        values: named ones; the variant with modifiers keeps one more for each state.
    """
    own_gates, own_rows = [f"g{k}" for k in range(gates)], [f"p{k}" for k in range(rows)]
    old = [f"s{k}" for k in range(states - 1)]

    def step(given: dict[str, Expression]) -> Values:
        read = [given[name] for name in (*own_gates, *own_rows)]
        chain, last = {}, sum(read[1:], start=read[0])
        for k in range(values - states):
            last = tanh(last + read[k % len(read)])
            chain[f"v{k}"] = last
        new = {name: given[name] * 0.5 + last * (0.2 * k - 0.5) for k, name in enumerate(old)}
        return named(**chain, **new, h=tanh(sum(new.values(), start=last)))

    function = with_arguments([*own_gates, *old, *own_rows], step)
    parameter = Parameter("rates", tuple(own_rows), "rates", start=0.02)
    return Cell("pointwise_limit", function, tuple(own_gates), ("h", *old), (parameter,))


def multiplying(matrices: int, uses: int) -> Cell:
    """Staged: each use of a matrix sees what the one before it gave."""
    names = [f"weight_{k}" for k in range(matrices)]

    def step(f: Expression, g: Expression, c: Expression) -> Values:
        f, g = sigmoid(f), tanh(g)
        c = f * c + g
        for k in range(uses):
            (seen,) = product(names[k % matrices], c)
            c = tanh(seen) + 0.5 * c
        return named(f=f, g=g, c=c, h=tanh(c))

    parameters = tuple(Parameter(name, ("a",), "a matrix", columns=1) for name in names)
    return Cell("multiplying_limit", step, ("f", "g"), ("h", "c"), parameters)


def normalising(times: int, parts: int) -> Cell:
    """Staged: so many times, the first of them over so many parts together."""

    def step(f: Expression, g: Expression, c: Expression) -> Values:
        f, g = sigmoid(f), tanh(g)
        c = f * c + g
        first = normalise(*(c * (k + 1) + g * (parts - k) for k in range(parts)))
        new = tanh(sum(first[1:], start=first[0] * 0.5))
        for _ in range(times - 1):
            (new,) = normalise(new + c)
        return named(f=f, g=g, c=c, h=tanh(new))

    return Cell("normalising_limit", step, ("f", "g"), ("h", "c"))


MOST = LIMITS["gates"], LIMITS["states"], LIMITS["parameters"], LIMITS["values"]
# With a projection there is one matrix more, and one use.
MATRICES, USES = LIMITS["matrices"] - 1, LIMITS["outers"] - 1
TIMES, PARTS = LIMITS["numbers"] // 2, LIMITS["arrays"]


@pytest.mark.parametrize(
    "cell",
    [pointwise(*MOST), multiplying(MATRICES, USES), normalising(TIMES, PARTS)],
    ids=lambda cell: cell.name,
)
@pytest.mark.parametrize("options", [{}, {"proj_size": 3, "zoneout": 0.2}], ids=["plain", "projected"])
@pytest.mark.skipif(not hasattr(native._core, "load_cells"), reason="the compiled core takes no cells")
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_a_cell_at_the_limits_agrees_with_the_reference(cell: Cell, options: dict[str, Any]) -> None:
    layer = holdfast.LSTM(I, H, cell=cell, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    leaves = dict(layer.named_parameters())
    found = {}
    for backend in ("reference", "native"):
        layer.backend = backend
        output, state = layer(x, generator=torch.Generator().manual_seed(2))
        loss = output.square().sum() + sum(part.sum() for part in state)
        found[backend] = output, *state, *torch.autograd.grad(loss, list(leaves.values()))
    names = ["output", *cell.states, *leaves]
    for name, own, exact in zip(names, found["native"], found["reference"], strict=True):
        assert exact.abs().max() > 1e-6, f"{name} says nothing"
        assert largest_difference(own.detach(), exact.detach()) < 1e-12, name


@pytest.mark.parametrize(
    ("cell", "count", "what"),
    [
        (pointwise(MOST[0] + 1, *MOST[1:]), 9, "gates"),
        (pointwise(MOST[0], MOST[1] + 1, *MOST[2:]), 7, "states"),
        (pointwise(*MOST[:2], MOST[2] + 1, MOST[3]), 25, "parameters"),
        (pointwise(*MOST[:3], MOST[3] + 1), 33, "values"),
        (multiplying(MATRICES + 1, MATRICES + 1), 5, "matrices"),
        (multiplying(1, USES + 1), 9, "outers"),
        (normalising(TIMES + 1, 1), 18, "numbers"),
        (normalising(1, PARTS + 1), 7, "arrays"),
    ],
)
def test_one_more_is_refused(cell: Cell, count: int, what: str) -> None:
    meant = _MEANINGS.get(what, what)
    expected = f"the cell {cell.name!r} has {count} {meant}; the core has room for {LIMITS[what]}"
    assert own_variants(cell) == expected


def test_what_is_normalised_within_another_has_numbers_of_its_own() -> None:
    variants = own_variants(normalising(3, 1))
    assert not isinstance(variants, str)
    for printed in variants:
        assert [cut.target for cut in printed.forward.cuts if cut.kind == "normalise"] == [0, 2, 4]
