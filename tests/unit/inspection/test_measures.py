"""Which units to look at."""

from __future__ import annotations

import numpy as np

from holdfast.inspection.measures import liveliest_units


def test_units_that_move_most_in_the_order_of_their_largest_change() -> None:
    states = np.zeros((4, 5), np.float32)
    states[3:, 1] = 0.9  # moves last
    states[1:, 3] = -0.8  # moves second
    states[:, 4] = 0.5  # moves at once, from 0
    states[2, 0] = 0.1
    assert liveliest_units(states, 3).tolist() == [4, 3, 1]
    assert liveliest_units(states, 1).tolist() == [1]
    assert sorted(liveliest_units(states, 9).tolist()) == [0, 1, 2, 3, 4]
