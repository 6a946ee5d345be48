"""The one rule of how far a backend may be from float64: shared by the tests of the contract."""

from __future__ import annotations

import torch
from torch import Tensor


def largest_difference(found: Tensor, exact: Tensor) -> float:
    """The largest |found - exact|, relative to the largest |exact|."""
    if exact.numel() == 0:
        return 0.0
    return float((found.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


def allowed_difference(own: float, dtype: torch.dtype) -> float:
    """Twice the rounding error `own` of the reference in that type, or 8 eps if that is more."""
    return max(2 * own, 8 * torch.finfo(dtype).eps)
