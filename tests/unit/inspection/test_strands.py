"""The view that every measure takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from holdfast.errors import InputError
from holdfast.inspection.strands import Strand

VALUES = np.arange(24.0).reshape(4, 3, 2)


def test_valid_steps_row_after_row() -> None:
    strand = Strand("layer 1", {"h": VALUES}, np.array([2, 0, 4]))
    expected = np.concatenate([VALUES[:2, 0], VALUES[:, 2]])
    np.testing.assert_array_equal(strand.steps("h"), expected)


def test_a_value_may_have_more_steps_than_any_row() -> None:
    strand = Strand("layer 1", {"h": VALUES}, np.array([2, 1, 3]))
    assert strand.steps("h").shape == (6, 2)


def test_gates_are_what_the_bounds_say() -> None:
    bounds = {"u": (0.0, 1.0), "half": (0.2, 0.7), "g": (-1.0, 1.0), "c": (-np.inf, np.inf)}
    values = dict.fromkeys(("u", "half", "g", "c", "unknown"), VALUES)
    strand = Strand("layer 1", values, np.array([4, 4, 4]), bounds=bounds)
    assert strand.gates == ("u", "half")
    assert strand.squashed == ("g",)
    assert strand.state == "c"
    assert Strand("layer 1", {"h": VALUES}, np.array([4, 4, 4])).state == "h"


@pytest.mark.parametrize(
    ("value", "lengths"), [(VALUES, [4, 4]), (VALUES, [5, 1, 1]), (VALUES[0], [4, 4, 4])]
)
def test_values_that_do_not_fit_the_lengths_are_refused(value: np.ndarray, lengths: list[int]) -> None:
    with pytest.raises(InputError, match="layer 1: the values of 'h' must be"):
        Strand("layer 1", {"h": value}, np.array(lengths))


def test_measures_over_traces_need_no_torch() -> None:
    """A server without torch may show them: what it traces itself is enough."""
    names = (
        "calibration",
        "following",
        "history",
        "saturation",
        "step_properties",
        "time_constants",
        "turns",
    )
    imports = "; ".join(f"import holdfast.inspection.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
