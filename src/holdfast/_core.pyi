"""The compiled core (csrc/). Importing it raises ImportError if HOLDFAST_ISA names a level it cannot run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

version: str
"""The version of holdfast that this core was built from."""

compiler: str
"""The compiler that built it, with its version."""

level: str
"""The level of instruction sets that this process uses: the best one, or the one that HOLDFAST_ISA names."""

levels: tuple[str, ...]
"""The levels that this build and this processor have, from the plainest to the fastest."""

built_levels: tuple[str, ...]
"""The levels in this build, in the same order."""

instruction_sets: tuple[str, ...]
"""What this processor offers, of the instruction sets that levels need."""

def dot(a: NDArray[np.float32], b: NDArray[np.float32], level: str | None = None) -> float:
    """The sum over k of a[k] * b[k], in the order that csrc/kernels.h states.

    Args:
        a: `[n]`, contiguous float32.
        b: `[n]`, contiguous float32.
        level: one of `levels`; None is the level of this process.

    Returns:
        The sum, accumulated in float32.

    Raises:
        ValueError: the lengths differ, or this processor does not run the level.
        TypeError: an argument is not a contiguous vector of float32.
    """
