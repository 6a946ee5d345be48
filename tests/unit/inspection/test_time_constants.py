"""How long units hold what they took in."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from holdfast.inspection.strands import Strand
from holdfast.inspection.time_constants import time_constant, time_constants, time_constants_figure

LENGTHS = np.array([6, 4])


def of(kept: Any, **values: Any) -> Any:
    c = np.zeros((6, 2, 3))
    (found,) = time_constants([Strand("layer 1", {"c": c, **values}, LENGTHS, kept={"c": kept})])
    return found


def test_it_is_the_steps_after_which_1_over_e_is_left() -> None:
    share = np.broadcast_to(np.array([0.5, 0.9, 0.99]), (6, 2, 3)).copy()
    share[4:, 1] = 0.0  # padding
    found = of(share)
    np.testing.assert_allclose(found.steps, [1 / np.log(2), 9.4912, 99.499], rtol=1e-4)
    np.testing.assert_allclose(share[0, 0] ** found.steps, 1 / np.e)
    np.testing.assert_allclose(found.mean_share, [0.5, 0.9, 0.99])
    assert found.quantiles[[0, 3, -1]].tolist() == sorted(found.steps)
    assert found.row_steps == 6
    assert "unit 2 holds longest, 99 steps" in found.sentence


def test_over_different_shares_the_product_counts() -> None:
    share = np.array([[0.9], [0.1], [0.9]])
    np.testing.assert_allclose((share.prod()) ** (time_constant(share)[0] / 3), 1 / np.e)


def test_a_unit_that_forgets_at_times_is_long_at_its_most_open_steps() -> None:
    share = np.full((6, 2, 3), 0.99)
    share[2] = 0.01
    found = of(share)
    assert (found.steps < 2).all()
    np.testing.assert_allclose(found.longest_steps, -1 / np.log(0.99))


@pytest.mark.parametrize(
    ("share", "steps", "note"),
    [(1.0, np.inf, "c only adds up"), (0.0, 0.0, "each step overwrites c")],
)
def test_all_and_nothing(share: float, steps: float, note: str) -> None:
    found = of(np.full((6, 2, 3), share))
    assert (found.steps == steps).all()
    assert note in found.sentence
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["steps"] == (
        [None] * 3 if share else [0.0] * 3
    )


def test_equations_without_a_share() -> None:
    found = of(None)
    assert len(found.steps) == 0
    assert "units are mixed" in found.sentence


def test_the_picture_has_a_line_per_place_that_has_a_number() -> None:
    found = [of(np.full((6, 2, 3), share)) for share in (0.5, 1.0)]
    axes = time_constants_figure(found).axes[0]
    assert [line.get_label() for line in axes.lines] == ["layer 1", "the longest row"]
