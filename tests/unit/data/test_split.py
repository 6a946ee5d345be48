from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.duplicates import text_groups
from holdfast.data.split import hold_out, take
from holdfast.data.table import read_texts
from holdfast.errors import ConfigError, DataError


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), min_size=2, max_size=80),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
def test_every_row_is_on_one_side_and_groups_stay_together(
    rows: list[tuple[str, int]], fraction: float, seed: int
) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    try:
        train, valid = hold_out(labels, fraction=fraction, seed=seed, groups=groups)
    except DataError:
        first_labels = {group: label for label, group in reversed(rows)}
        places = {label: {group for name, group in rows if name == label} for label in labels}
        alone = {group for found in places.values() if len(found) == 1 for group in found}
        spare = [label for group, label in first_labels.items() if group not in alone]
        assert all(list(first_labels.values()).count(label) == 1 for label in spare)
        return
    assert sorted([*train, *valid]) == list(range(len(rows)))
    assert len(valid)
    assert not {groups[i] for i in train} & {groups[i] for i in valid}


@given(st.integers(2, 300), st.integers(2, 300), st.floats(0.05, 0.5), st.integers(0, 99))
def test_each_class_is_held_out_in_the_same_share(
    first: int, second: int, fraction: float, seed: int
) -> None:
    labels = ["a"] * first + ["b"] * second
    _, valid = hold_out(labels, fraction=fraction, seed=seed)
    for name, count in (("a", first), ("b", second)):
        held = sum(labels[i] == name for i in valid)
        # Half a row of rounding, and at least one row on each side.
        assert abs(held - fraction * count) <= 0.5 or held == 1


def test_the_seed_decides() -> None:
    labels = ["a", "b"] * 50
    one, again, other = (hold_out(labels, fraction=0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_class_with_one_text_stays_in_training() -> None:
    train, valid = hold_out(["a", "a", "a", "b", "b"], fraction=0.4, seed=0, groups=[0, 1, 2, 3, 3])
    assert {3, 4} <= set(train.tolist())
    assert len(valid) == 1


def test_rows_with_several_labels_are_split_by_the_rarest() -> None:
    labels = [("common",)] * 20 + [("common", "rare")] * 4 + [()] * 4
    _, valid = hold_out(labels, fraction=0.25, seed=3)
    assert sum("rare" in labels[i] for i in valid) == 1
    assert sum(labels[i] == () for i in valid) == 1


NAMES = st.frozensets(st.sampled_from("abcde")).map(lambda names: tuple(sorted(names)))


@settings(max_examples=300)
@given(
    rows=st.lists(st.tuples(NAMES, st.integers(0, 40)), min_size=2, max_size=60),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
def test_training_keeps_every_label_of_rows_with_several(
    rows: list[tuple[tuple[str, ...], int]], fraction: float, seed: int
) -> None:
    labels, groups = [names for names, _ in rows], [group for _, group in rows]
    try:
        train, valid = hold_out(labels, fraction=fraction, seed=seed, groups=groups)
    except DataError:
        return
    assert len(train)
    assert len(valid)
    assert {name for i in train for name in labels[i]} == {name for names in labels for name in names}
    assert not {groups[i] for i in train} & {groups[i] for i in valid}


def test_a_label_whose_rows_all_have_a_rarer_partner_stays_in_training() -> None:
    partners = "pqrstu"
    labels = [("common",)] * 40
    labels += [("shared", name) for name in partners[:3]] + [(name,) for name in partners[:3]]
    for seed in range(50):
        train, valid = hold_out(labels, fraction=0.5, seed=seed)
        assert {name for i in train for name in labels[i]} == {"common", "shared", *partners[:3]}
        assert len(valid)


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.6])
def test_a_small_class_survives_two_cuts(rows: int, fraction: float) -> None:
    labels = ["large"] * 40 + ["small"] * rows
    for seed in range(50):
        rest, _ = hold_out(labels, fraction=fraction, seed=seed)
        train, _ = hold_out([labels[i] for i in rest], fraction=fraction, seed=seed)
        assert {labels[rest[i]] for i in train} == {"large", "small"}


def test_a_small_class_survives_whose_texts_also_have_another_label() -> None:
    labels = ["large", "small"] * 3 + ["large"] * 30
    groups = [0, 0, 1, 1, 2, 2, *range(3, 33)]
    for seed in range(50):
        train, _ = hold_out(labels, fraction=0.6, seed=seed, groups=groups)
        assert {labels[i] for i in train} == {"large", "small"}


def test_repeated_texts_never_stand_on_both_sides() -> None:
    texts = [f"text {n % 30}" for n in range(100)]
    train, valid = hold_out(["a", "b"] * 50, fraction=0.2, seed=0, groups=text_groups(texts).tolist())
    assert not {texts[i] for i in train} & {texts[i] for i in valid}


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fraction is 1\.0"):
        hold_out(["a", "b"], fraction=1.0, seed=0)
    with pytest.raises(DataError, match="no class has two different texts to spare"):
        hold_out(["a", "b"], fraction=0.5, seed=0)
    with pytest.raises(ConfigError, match="2 labels but 3 groups"):
        hold_out(["a", "b"], fraction=0.5, seed=0, groups=[1, 2, 3])


def test_take_keeps_rows_and_counts_classes() -> None:
    part = take(read_texts((["p", "q", "r"], ["x", "y", "x"])), np.array([0, 2]))
    assert (part.texts, part.labels, part.rows) == (["p", "r"], ["x", "x"], [1, 3])
    assert (part.report.classes, part.report.rows_kept) == ({"x": 2}, 2)
