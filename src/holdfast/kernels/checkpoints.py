"""What is kept for the backward pass where most values are computed once more: states, every k steps.

They are `[L, D, C, B, width]` each with C = ceil(T / k), besides what each layer but the last gave. Backward
runs forward again and then back, k steps at a time.
"""

from __future__ import annotations

import sys
from math import isqrt

import torch

# k, or True for about the square root of T, with which the states that are kept and the values that are there
# at once are about as few as can be; None keeps every value.
Recompute = int | bool | None
SQUARE_ROOT = -1


def as_number(recompute: Recompute, *, traced: bool) -> int:
    """What `Request.recompute` is: 0 for none, as in a call with a trace, which shows every value anyway."""
    if recompute is None or traced:
        return 0
    return SQUARE_ROOT if recompute is True else min(recompute, sys.maxsize)


def spacing(recompute: int, steps: int) -> int:
    """k, at most T but at least 1; 0 where every value is kept."""
    return max(1, isqrt(steps)) if recompute == SQUARE_ROOT else min(recompute, max(1, steps))


def count(recompute: int, steps: int) -> int:
    """C."""
    return -(-steps // spacing(recompute, steps))


def count_while_recorded(recompute: int, steps: int) -> int:
    """The same for fake tensors; of an open T a number of its own, since graphs are guarded on formulas."""
    if isinstance(steps, torch.SymInt):
        return torch.library.get_ctx().new_dynamic_size()
    return count(recompute, steps)
