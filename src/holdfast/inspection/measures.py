"""Numbers about the gates and states of a network that has read something."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def liveliest_units(states: Array, most: int) -> Array:
    """The units whose state moves most while a sequence is read, in the order in which they move.

    Args:
        states: the state of each unit after each step, `[T, H]`.
        most: how many units to choose.

    Returns:
        Indices of at most `most` units, `[min(most, H)]`: those with the largest distance between their
        highest and their lowest state, the state before the first step (0) included; sorted by the step of
        their largest change.
    """
    with_start = np.concatenate([np.zeros((1, states.shape[1]), states.dtype), states])
    reach = with_start.max(0) - with_start.min(0)
    chosen = np.argsort(-reach, kind="stable")[:most]
    when = np.abs(np.diff(with_start[:, chosen], axis=0)).argmax(0)
    return chosen[np.lexsort((chosen, when))]
