"""Whether a model is as often right as it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from holdfast.errors import InputError
from holdfast.inspection.calibration import BINS, calibration
from holdfast.training.metrics import classification_scores


def drawn(rows: int, sharper: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes and targets drawn from them; `sharper` than 1: the model is too sure."""
    generator = np.random.default_rng(seed)
    scores = generator.standard_normal((rows, 3)) * 1.5
    true = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    targets = (generator.random((rows, 1)) > true.cumsum(1)).sum(1)
    said = np.exp(sharper * scores)
    return said / said.sum(1, keepdims=True), targets


def test_the_error_is_that_of_the_scores() -> None:
    probabilities, targets = drawn(500, 2.0)
    expected = classification_scores(probabilities, targets)["calibration_error"]
    assert calibration(probabilities, targets).error == pytest.approx(expected)


def test_bins_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.35, 0.65], [0.0, 1.0]])
    found = calibration(probabilities, np.array([0, 1, 1, 1]))
    assert found.counts.sum() == 4
    full = found.counts > 0
    np.testing.assert_allclose(found.confidence[full], [0.65, 0.91, 1.0])
    np.testing.assert_allclose(found.accuracy[full], [1, 0.5, 1])
    assert found.error == pytest.approx((0.35 + 2 * 0.41 + 0) / 4)
    assert np.isnan(found.confidence[0])
    assert len(found.edges) == BINS + 1
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["confidence"][0] is None


def test_chance_is_not_taken_for_a_fault() -> None:
    inside = [calibration(*drawn(300, 1.0, seed)) for seed in range(20)]
    assert sum(found.error <= found.chance for found in inside) >= 16
    assert all(0.01 < found.chance < 0.12 for found in inside)
    assert "about as often right as it says" in inside[0].sentence


@pytest.mark.parametrize(("sharper", "said"), [(3.0, "too sure"), (0.3, "not sure enough")])
def test_a_fault_is_named(sharper: float, said: str) -> None:
    found = calibration(*drawn(2000, sharper))
    assert found.error > 2 * found.chance
    assert f"The model is {said}" in found.sentence


def test_each_label_of_a_row_is_an_answer() -> None:
    probabilities = np.array([[0.9, 0.2], [0.4, 0.6]])
    found = calibration(probabilities, np.array([[True, False], [False, False]]))
    assert found.counts.sum() == 4
    assert found.mean_confidence == pytest.approx((0.9 + 0.8 + 0.6 + 0.6) / 4)
    assert found.mean_accuracy == 0.75


@pytest.mark.parametrize(("shape", "rows"), [((0, 2), 0), ((3,), 3), ((3, 2), 2)])
def test_rows_that_do_not_fit(shape: tuple[int, ...], rows: int) -> None:
    with pytest.raises(InputError, match=r"calibration needs probabilities \[N, K\] and N targets"):
        calibration(np.zeros(shape), np.zeros(rows, int))


def test_the_picture() -> None:
    above, below = calibration(*drawn(200, 1.0)).figure().axes
    assert [line.get_label() for line in above.lines] == ["as often right as it says", "this model"]
    assert len(below.patches) == BINS
