"""Odd sizes: the edges of blocks, vector units and special cases that one small shape does not meet."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
from contract.agreement import backends_of, check, untraced_by_backend, untraced_by_hand
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
    case = drawn(cell, seed)
    for backend in backends_of(case):
        check(case, torch.float64, untraced_by_hand, partial(untraced_by_backend, case, backend))


def results(case: Case, backend: str, dtype: torch.dtype) -> Named:
    named = {name: value.detach() for name, value in leaves(case, dtype).items()}
    inputs = (get(case.cell), named["x"], weights_of(case, named), state_of(case, named), lengths_of(case))
    result = recurrence(*inputs, backend=backend)
    return {"output": result.output, **dict(zip(case.paper.states, result.state, strict=True))}  # type: ignore[dict-item]


def check_large(cell: str, seed: int) -> None:
    """The fused backends beside the reference, in float32."""
    plain = ["layers", "bidirectional", "no_bias", "no_state", "lengths"]
    case = drawn(cell, seed, tuple(range(1, 70)), plain)
    exact, own = (results(case, "reference", dtype) for dtype in (torch.float64, torch.float32))
    for backend in set(backends_of(case)) - {"reference"}:
        found = results(case, backend, torch.float32)
        for name, value in exact.items():
            allowed = allowed_difference(largest_difference(own[name], value), torch.float32)
            difference = largest_difference(found[name], value)
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
