"""Heat maps of what a cell did while it read one row."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.inspection.heat_maps import heat_maps
from holdfast.inspection.strands import Strand


@pytest.mark.parametrize(
    ("values", "ends"),
    [([0.45, 0.7], (0.3, 0.7)), ([0.49, 0.51], (0.4, 0.6)), ([0.0, 0.9], (0.0, 1.0))],
)
def test_a_gate_is_drawn_over_the_range_in_use(values: list[float], ends: tuple[float, float]) -> None:
    numbers = np.array(values)[:, None, None]
    made = Strand(
        "layer 1", {"f": numbers, "c": numbers - 0.5}, np.array([2]), bounds={"f": (0, 1), "c": (-9, 9)}
    )
    (found,) = heat_maps([made], 0, ("a", "b"))
    gate, state, bar = found.figure().axes[:3]
    assert gate.get_images()[0].get_clim() == pytest.approx(ends)
    most = max(abs(value - 0.5) for value in values)
    assert state.get_images()[0].get_clim() == pytest.approx((-most, most))
    assert [label.get_text() for label in bar.get_yticklabels()] == [
        f"{ends[0]:.2g}",
        "0.5",
        f"{ends[1]:.2g}",
    ]
