"""Attribution: exact where the answer can be said by hand, complete and checked by occlusion elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from readers import FEATURES, reader, row
from torch import Tensor

from holdfast.errors import InputError
from holdfast.inspection import attribution as attribution_module
from holdfast.inspection.attribution import attribution, integrated_gradients
from holdfast.inspection.objective import score
from holdfast.inspection.subject import Subject

STEPS = 6
WEIGHTS = torch.linspace(-1, 2, STEPS * FEATURES, dtype=torch.float64).reshape(STEPS, FEATURES)


def of_inputs(scores: Callable[[Tensor], Tensor], outputs: int = 1) -> Subject:
    """A subject whose scores are a function of the weighted inputs `[T, B]` and not of its LSTMs."""

    def forward(module: Any, x: Tensor, lengths: Tensor) -> Tensor:
        return scores((x * WEIGHTS[:, None]).sum(2))

    return Subject.of(reader().module, tuple("abcd"[:outputs]), forward)


def linear(weighted: Tensor) -> Tensor:
    return weighted.sum(0)[:, None] + 7


def contributions(baseline: Tensor | None = None) -> np.ndarray:
    x = row(STEPS).x[:, 0]
    each: np.ndarray = ((x - (0 if baseline is None else baseline)) * WEIGHTS).sum(1).numpy()
    return each


def test_a_linear_network_is_explained_exactly_both_ways() -> None:
    found = attribution(of_inputs(linear), row(STEPS))
    np.testing.assert_allclose(found.integrated, contributions(), rtol=1e-12)
    np.testing.assert_allclose(found.occluded, contributions(), rtol=1e-10)
    assert found.baseline_value == 7
    assert found.value == pytest.approx(7 + contributions().sum())
    assert found.completeness_error < 1e-12
    assert found.agreement == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(FEATURES,), (STEPS, FEATURES)])
def test_a_linear_network_from_another_baseline(shape: tuple[int, ...]) -> None:
    baseline = torch.randn(shape, dtype=torch.float64)
    found = attribution(of_inputs(linear), row(STEPS), baseline=baseline)
    np.testing.assert_allclose(found.integrated, contributions(baseline), rtol=1e-12)
    np.testing.assert_allclose(found.occluded, contributions(baseline), rtol=1e-10)


def test_two_linear_classes_are_told_apart_by_their_log_odds() -> None:
    found = attribution(
        of_inputs(lambda each: torch.cat([linear(each), -linear(each)], 1), 2), row(STEPS), "a"
    )
    np.testing.assert_allclose(found.integrated, 2 * contributions(), rtol=1e-10)
    assert found.output == "a"


def test_a_square_by_hand() -> None:
    """F = S^2 of the sum S of the contributions s: integrated gradients s S, occlusion S^2 - (S - s)^2."""
    found = attribution(of_inputs(lambda each: each.sum(0)[:, None] ** 2), row(STEPS))
    own = contributions()
    np.testing.assert_allclose(found.integrated, own * own.sum(), rtol=1e-10)
    np.testing.assert_allclose(
        found.occluded, own.sum() ** 2 - (own.sum() - own) ** 2, rtol=1e-10, atol=1e-12
    )


def test_the_rule_is_exact_for_polynomials_of_its_degree() -> None:
    subject, own = of_inputs(lambda each: each.sum(0)[:, None] ** 4), row(STEPS)
    start = torch.zeros(STEPS, FEATURES, dtype=torch.float64)
    share = contributions().sum() ** 3 * contributions()
    np.testing.assert_allclose(integrated_gradients(subject, own, start, score(0), 2), share, rtol=1e-10)
    assert abs(integrated_gradients(subject, own, start, score(0), 1) / share - 1).min() > 0.1


@pytest.mark.parametrize("output", ["a", "b", None])
def test_an_lstm_is_explained_completely(output: str | None) -> None:
    found = attribution(reader(), row(8), output)
    assert found.completeness_error < 1e-6
    assert found.points == 16
    gap = found.value - found.baseline_value
    assert found.integrated.sum() == pytest.approx(gap, rel=1e-6)
    assert found.agreement is not None
    assert found.agreement > 0.9


def test_points_are_added_until_the_contributions_add_up() -> None:
    """A step in the middle of the line, which few points miss."""
    subject = of_inputs(lambda each: torch.sigmoid(200 * (each.sum(0) - contributions().sum() / 3))[:, None])
    found = attribution(subject, row(STEPS))
    assert found.points > 16
    assert found.completeness_error <= 0.01


def test_a_line_that_never_adds_up_says_by_how_much() -> None:
    subject = of_inputs(lambda each: torch.sigmoid(1e9 * (each.sum(0) - contributions().sum() / 3))[:, None])
    found = attribution(subject, row(STEPS))
    assert found.points == 256
    assert found.completeness_error > 0.01


def test_one_pass_or_many_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = attribution(reader(), row())
    monkeypatch.setattr(attribution_module, "MOST_NUMBERS", 1)
    parts = attribution(reader(), row())
    np.testing.assert_allclose(parts.integrated, whole.integrated, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(parts.occluded, whole.occluded, rtol=1e-9, atol=1e-14)


def test_the_strongest_steps_come_first() -> None:
    found = attribution(of_inputs(linear), row(STEPS))
    assert found.strongest(STEPS) == sorted(range(STEPS), key=lambda step: -abs(contributions()[step]))
    assert len(found.strongest()) == 3


def test_what_does_not_vary_has_no_correlation() -> None:
    assert attribution(of_inputs(lambda each: 0 * linear(each)), row(STEPS)).agreement is None


@pytest.mark.parametrize("shape", [(4,), (5, 3), (1,), ()])
def test_a_baseline_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"row 0: the baseline must be \[I\] = \[3\] or \[T, I\] = \[6, 3\]; it is"
    ):
        attribution(reader(), row(), baseline=torch.zeros(shape))


def test_it_is_said_in_words() -> None:
    subject = of_inputs(lambda each: each[1:3].sum(0)[:, None])
    found = attribution(subject, row(STEPS))
    one, two = contributions()[1:3]
    best, worst = (1, 2) if one > two else (2, 1)
    sides = [(best, max(one, two), "for"), (worst, min(one, two), "against")]
    if min(one, two) * max(one, two) > 0:
        sides = sides[:1] if one > 0 else sides[1:]
    told = [f"“word{k}” (step {k + 1}) speaks most {side} a ({value:+.2f})" for k, value, side in sides]
    assert found.sentence == f"row 0: {', '.join(told)}"
    nothing = attribution(of_inputs(lambda each: 0 * linear(each)), row(STEPS))
    assert nothing.sentence == "row 0: no step speaks for or against a"


def test_the_numbers_are_plain_and_the_picture_shows_them() -> None:
    found = attribution(reader(), row())
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["integrated_gradients"] == found.integrated.tolist()
    axes = found.figure().axes[0]
    bars: Any = axes.patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], found.integrated)
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), found.occluded)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(found.steps)


def test_a_long_row_is_drawn_around_its_strongest_step() -> None:
    found = attribution(reader(), row(150))
    strongest = found.strongest(1)[0]
    axes = found.figure().axes[0]
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert len(words) == 60
    assert f"word{strongest}" in words
    assert "of 150" in axes.get_title("left")
