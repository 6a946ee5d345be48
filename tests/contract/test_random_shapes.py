"""Odd sizes: the edges of blocks, vector units and special cases that one small shape does not meet."""

from __future__ import annotations

import random

import pytest
import torch
from contract.agreement import backends_of, untraced_by_backend, untraced_by_hand
from contract.cases import Case, case_of, changes_of, leaves, lengths_of, state_of, together, weights_of
from contract.papers import PAPERS, Named
from tolerance import allowed_difference, largest_difference

from holdfast.cells import get
from holdfast.kernels import recurrence

SMALL = (1, 2, 3, 4, 5, 7, 9)


def drawn(cell: str, seed: int, sizes: tuple[int, ...] = SMALL, changes: list[str] | None = None) -> Case:
    """Some changes together, and random sizes."""
    chance = random.Random(f"{cell} {seed}")
    chosen: set[str] = set()
    for name in changes_of(cell) if changes is None else changes:
        if chance.random() < 0.4 and together({*chosen, name}):
            chosen.add(name)
    options = {name: chance.choice(sizes) for name in ("steps", "batch", "inputs", "hidden")}
    return case_of(cell, chosen, **options, projected=chance.randint(1, max(1, options["hidden"] - 1)))


def check_small(cell: str, seed: int) -> None:
    """Sums over one or two units may cancel nearly to nothing, and no eps bounds what is left of them then.

    So the bound is far above rounding errors and far below what a wrong index or shape makes.
    """
    case = drawn(cell, seed)
    named = leaves(case)
    exact = untraced_by_hand(case, named)
    for backend in backends_of(case):
        found = untraced_by_backend(case, backend, named)
        for name, value in exact.items():
            assert found[name].shape == value.shape
            assert largest_difference(found[name], value) < 1e-9, f"{backend}, {case}, {name}"


def results(case: Case, backend: str, dtype: torch.dtype, draw: int = 0) -> Named:
    named = {name: value.detach() for name, value in leaves(case, dtype, draw).items()}
    inputs = (get(case.cell), named["x"], weights_of(case, named), state_of(case, named), lengths_of(case))
    result = recurrence(*inputs, backend=backend)
    return {"output": result.output, **dict(zip(case.paper.states, result.state, strict=True))}  # type: ignore[dict-item]


def check_large(cell: str, seed: int) -> None:
    """The fused backends in float32, by the one rule; the reference's own error is that of four draws."""
    plain = ["layers", "bidirectional", "no_bias", "no_state", "lengths"]
    case = drawn(cell, seed, tuple(range(1, 70)), plain)
    exact = [results(case, "reference", torch.float64, draw) for draw in range(4)]
    rounded = [results(case, "reference", torch.float32, draw) for draw in range(4)]
    for backend in set(backends_of(case)) - {"reference"}:
        found = results(case, backend, torch.float32)
        for name, value in exact[0].items():
            own = max(largest_difference(r[name], e[name]) for r, e in zip(rounded, exact, strict=True))
            difference, allowed = (
                largest_difference(found[name], value),
                allowed_difference(own, torch.float32),
            )
            assert difference <= allowed, f"{backend}, {name}: {difference:.3g}, {allowed:.3g} allowed"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cell", sorted(PAPERS))
def test_some_small_shapes(cell: str, seed: int) -> None:
    check_small(cell, seed)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_some_large_shapes(cell: str, seed: int) -> None:
    check_large(cell, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 100))
@pytest.mark.parametrize("cell", sorted(PAPERS))
def test_many_small_shapes(cell: str, seed: int) -> None:
    check_small(cell, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 150))
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_many_large_shapes(cell: str, seed: int) -> None:
    check_large(cell, seed)
