"""Whether two sides computed the same numbers: what is not the same work is not timed."""

from __future__ import annotations

import numpy as np
from problem import Arrays, Work


def computed(work: Work) -> Arrays:
    """What the work computes, copied; empty where it gives nothing to compare."""
    result = work.call()
    return (
        {} if work.arrays is None else {name: np.array(value) for name, value in work.arrays(result).items()}
    )


def differences(theirs: Arrays, ours: Arrays, tolerance: float = 1e-4) -> list[str]:
    """One line for each array that is missing, has another shape or is further off than allowed.

    The tolerance is one of the largest number of each array.
    """
    found = []
    for name, expected in ours.items():
        given = theirs.get(name)
        if given is None or given.shape != expected.shape:
            found.append(f"{name}: {'nothing' if given is None else given.shape} instead of {expected.shape}")
            continue
        scale = max(float(np.abs(expected).max(initial=0)), 1e-30)
        worst = float(np.abs(given - expected).max(initial=0)) / scale
        if not worst <= tolerance:
            found.append(f"{name}: off by {worst:.1e} of the largest number")
    return found
