"""The torch backend: the constant that freezes padding fits the type that the call computes in."""

from __future__ import annotations

import pytest
import torch

from holdfast.kernels.torch_native import saturating


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_constant_is_finite_and_saturates_the_sigmoid_exactly(dtype: torch.dtype) -> None:
    bound = torch.tensor(saturating(torch.zeros(1, dtype=dtype)), dtype=dtype)
    assert bound.isfinite()
    assert 0 * bound == 0
    for pre_activation in (0.0, 60000.0, -60000.0):
        assert torch.sigmoid(bound + pre_activation) == 1
        assert torch.sigmoid(-bound + pre_activation) == 0


def test_autocast_to_float16_asks_for_the_constant_of_float16() -> None:
    x = torch.zeros(1)
    with torch.autocast("cpu", torch.float16):
        assert torch.tensor(saturating(x)).half().isfinite()
    assert saturating(x) == 2.0**100
