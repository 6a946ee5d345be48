"""Every group runs, on tiny shapes, with whichever peers are installed."""

from __future__ import annotations

import pytest
from records import COLUMNS
from registry import GROUPS, SIZES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", GROUPS)
def test_every_case_of_a_group_runs_and_all_sides_agree(group: str) -> None:
    for case in GROUPS[group]("tiny"):
        measured = case.measure(seconds=0.0)
        assert not measured.failures
        assert measured.rows, case.name
        for row in measured.rows:
            assert tuple(row) == COLUMNS
            assert row["group"] == group
            assert row["case"] == case.name
            assert float(row["value"]) > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_names_of_the_cases_tell_them_apart(size: str) -> None:
    for group, cases in GROUPS.items():
        names = [case.name for case in cases(size)]
        assert names, group
        assert len(set(names)) == len(names)
