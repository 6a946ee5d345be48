"""Padding that a backend runs through must freeze the state, however large the numbers are."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from contract.agreement import by_backend, check, untraced_by_backend, untraced_by_hand
from contract.cases import LENGTHS, Case, H, leaves
from contract.papers import Named

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
CASES = [
    Case("lstm", bidirectional=True, lengths=True, no_state=no_state, layers=layers)
    for no_state, layers in itertools.product((False, True), (1, 2))
]


def extreme(case: Case, dtype: torch.dtype, seed: int = 0) -> Named:
    """Units whose input or forget gate is far open or far shut, by its bias or by its weights."""
    named = leaves(case, dtype, seed)
    with torch.no_grad():
        for name, value in named.items():
            if name.startswith("bias_ih"):
                value[:H] = torch.tensor([35000.0, -35000.0, 0.0, 35000.0, 0.0])
                value[H : 2 * H] = torch.tensor([-35000.0, 35000.0, 0.0, 35000.0, 0.0])
            if name.startswith("weight_ih"):
                value[[2, H + 2]] = torch.tensor([[1e4], [-1e4]]).to(dtype)
    return named


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_padding_stays_frozen_however_large_the_pre_activations(
    backend: str, case: Case, dtype: torch.dtype
) -> None:
    check(case, dtype, untraced_by_hand, partial(untraced_by_backend, case, backend), extreme)


@pytest.mark.parametrize("no_state", [False, True])
def test_padding_stays_frozen_under_autocast(no_state: bool) -> None:
    case = Case("lstm", bidirectional=True, lengths=True, no_state=no_state)
    named = leaves(case, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = by_backend(case, named, "torch"), by_backend(case, named, "reference")
    empty = LENGTHS.index(0)
    for name, value in expected.items():
        assert found[name].isfinite().all()
        # Values below 3 that round to 8 bits in each of 6 steps.
        torch.testing.assert_close(found[name].float(), value.float(), rtol=0.0, atol=0.05)
    assert torch.equal(found["c_n"][:, empty], expected["c_n"][:, empty])
