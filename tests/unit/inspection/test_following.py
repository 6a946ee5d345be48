"""Units that follow a property are found, and chance is not taken for a finding."""

from __future__ import annotations

import json

import numpy as np
import pytest

from holdfast.errors import InputError
from holdfast.inspection.following import following, following_figure
from holdfast.inspection.strands import Strand

LENGTHS = np.array([30, 40, 25, 40, 35])


def walks(seed: int, units: int = 20) -> np.ndarray:
    """Values that change slowly and mean nothing, `[T, B, units]`."""
    return np.random.default_rng(seed).standard_normal((40, 5, units)).cumsum(0)


def inside(seed: int = 0) -> list[np.ndarray]:
    """0 or 1 in runs of some steps, for each row."""
    generator = np.random.default_rng(seed)
    return [(generator.random(length // 5 + 1) < 0.4).repeat(5)[:length] * 1.0 for length in LENGTHS]


def strand(seed: int = 3, label: str = "layer 1") -> tuple[Strand, list[np.ndarray]]:
    """Unit 4 opens f inside; unit 7 closes it, less clearly; g of unit 4 follows too, but worse."""
    wanted = inside()
    generator = np.random.default_rng(seed)
    values = {"f": 0.5 + 0.02 * walks(seed), "g": walks(seed + 1)}
    for row, numbers in enumerate(wanted):
        length = len(numbers)
        values["f"][:length, row, 4] = 0.1 + 0.8 * numbers + 0.05 * generator.standard_normal(length)
        values["f"][:length, row, 7] = 0.9 - 0.6 * numbers + 0.2 * generator.standard_normal(length)
        values["g"][:length, row, 4] = numbers + generator.standard_normal(length)
    return Strand(label, values, LENGTHS), wanted


def test_the_followers_are_ranked() -> None:
    made, wanted = strand()
    (found,) = following([made], {"inside": wanted})
    first, second = found.followers[:2]
    assert (first.unit, first.value, second.unit, second.value) == (4, "f", 7, "f")
    assert first.correlation > 0.97
    assert second.correlation < -0.75
    assert (first.low, first.high) == pytest.approx((0.1, 0.9), abs=0.02)
    assert found.beyond == 2
    assert 0.1 < found.noise < 0.6
    assert (found.units, found.rows, found.steps) == (20, 5, 170)
    assert len({follower.unit for follower in found.followers}) == 10


def test_correlations_are_those_of_numpy() -> None:
    made, wanted = strand()
    (found,) = following([made], {"inside": wanted}, most=20)
    of_rows = np.concatenate([straightened(row) for row in wanted])
    for follower in found.followers:
        values = made.values[follower.value][..., follower.unit]
        parts = [straightened(values[:length, row]) for row, length in enumerate(LENGTHS)]
        expected = np.corrcoef(np.concatenate(parts), of_rows)[0, 1]
        assert follower.correlation == pytest.approx(expected, abs=1e-5)


def straightened(row: np.ndarray) -> np.ndarray:
    steps = np.arange(len(row))
    return row - np.polyval(np.polyfit(steps, row, 1), steps) + row.mean()


def test_slow_values_that_mean_nothing_are_no_finding() -> None:
    """A property and units that change as slowly: a test that shuffles single steps would find many."""
    findings = 0
    for seed in range(20):
        made = Strand("layer 1", {"h": walks(seed)}, LENGTHS)
        nothing = walks(seed + 100, 1)[..., 0]
        rows = [nothing[:length, row] for row, length in enumerate(LENGTHS)]
        (found,) = following([made], {"nothing": rows})
        largest = abs(found.followers[0].correlation)
        assert largest > 0.15  # more than 170 independent steps would give
        findings += found.beyond > 0
    assert findings <= 3  # about one in twenty: walks are slower than any row


def test_who_follows_the_position_does_not_follow_what_rises_with_it() -> None:
    generator = np.random.default_rng(0)
    rising = [np.arange(length) + 8.0 * generator.standard_normal(length) for length in LENGTHS]
    values = np.arange(40.0)[:, None, None] / 40 + 0.01 * generator.standard_normal((40, 5, 3))
    made = Strand("layer 1", {"c": values}, LENGTHS)
    position = [np.arange(float(length)) for length in LENGTHS]
    of_position, of_rising = following([made], {"position": position, "rising": rising})
    assert of_position.followers[0].correlation > 0.99
    assert of_position.beyond == 3
    assert of_rising.beyond == 0


def test_one_short_row_finds_nothing() -> None:
    """Six steps can be shifted in six ways, one of which is not at all."""
    numbers = np.array([0.0, 0, 1, 1, 0, 0])
    made = Strand("layer 1", {"h": numbers[:, None, None]}, np.array([6]))
    (found,) = following([made], {"inside": [numbers]})
    assert found.followers[0].correlation == pytest.approx(1)
    assert found.beyond == 0
    assert found.sentence.startswith("No unit follows “inside”")


def test_units_of_several_places_are_ranked_together() -> None:
    (one, wanted), (other, _) = strand(3), strand(5, "layer 2")
    (found,) = following([one, other], {"inside": wanted})
    assert {(follower.place, follower.unit) for follower in found.followers[:2]} == {
        ("layer 1", 4),
        ("layer 2", 4),
    }
    assert found.units == 40


def test_a_property_of_many_numbers_is_low_and_high_in_the_outer_quarters() -> None:
    position = [np.arange(length, dtype=float) for length in LENGTHS]
    values = np.broadcast_to(np.arange(40.0)[:, None, None] / 40, (40, 5, 1))
    (found,) = following([Strand("layer 1", {"c": values}, LENGTHS)], {"position": position})
    steps = np.concatenate(position)
    assert found.followers[0].low == pytest.approx(steps[steps <= np.quantile(steps, 0.25)].mean() / 40)
    assert found.followers[0].high == pytest.approx(steps[steps >= np.quantile(steps, 0.75)].mean() / 40)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_property_that_is_mostly_one_number_is_high_where_it_is_another(sign: float) -> None:
    numbers = sign * np.repeat([0.0, 1, 0, 3], [50, 7, 40, 3])
    made = Strand("layer 1", {"c": (numbers != 0)[:, None, None] * 1.0}, np.array([100]))
    (found,) = following([made], {"bracket": [numbers]})
    values = found.followers[0].low, found.followers[0].high
    assert values == ((0, 1) if sign > 0 else (1, 0))


def test_rows_of_one_and_two_steps_are_straight_too() -> None:
    lengths = np.array([1, 2, 3, 20, 20, 20, 20])
    values = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 7, 1))
    position = [np.arange(float(length)) for length in lengths]
    (found,) = following([Strand("layer 1", {"c": values}, lengths)], {"position": position})
    assert found.followers[0].correlation == pytest.approx(1, abs=1e-5)
    assert found.beyond == 1


def test_a_value_that_never_changes_follows_nothing() -> None:
    made = Strand("layer 1", {"h": np.full((40, 5, 2), 0.3, np.float32)}, LENGTHS)
    (found,) = following([made], {"inside": inside()})
    assert [follower.correlation for follower in found.followers] == [0, 0]
    assert found.beyond == 0


def test_properties_that_cannot_be_used() -> None:
    made, wanted = strand()
    assert following([made], {"constant": [np.ones(length) for length in LENGTHS]}) == []
    with pytest.raises(
        InputError, match=r"the property 'p' must have one number for each step .* has \[30\]"
    ):
        following([made], {"p": wanted[:1]})
    with pytest.raises(InputError, match="'p' holds numbers that are not finite"):
        following([made], {"p": [wanted[0] * np.nan, *wanted[1:]]})
    with pytest.raises(InputError, match="no property to draw"):
        following_figure([])


def test_it_is_said_in_words_as_data_and_as_a_picture() -> None:
    made, wanted = strand()
    found = following([made], {"inside": wanted, "position": [np.arange(len(row)) for row in wanted]})
    assert (
        "best unit 4 of layer 1, whose f is 0.10 where it is low and 0.90 where it is high"
        in found[0].sentence
    )
    data = json.loads(json.dumps(found[0].as_dict(), allow_nan=False))
    assert data["followers"][0]["unit"] == 4
    drawn = following_figure(found, most=3)
    assert drawn.axes[0].get_title(loc="left") == "inside: 2 units"
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()][-1] == "layer 1: unit 4, f"
