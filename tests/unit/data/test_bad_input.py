"""Every kind of bad input gives one clear DataError with the file and, where there is one, the row."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_input import BAD_INPUT, GOOD_ROWS, BadInput, csv_text

from holdfast.data.table import read_texts
from holdfast.data.validate import check_training
from holdfast.errors import DataError


@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.name)
def test_is_refused_with_one_clear_message(case: BadInput, tmp_path: Path) -> None:
    path = case.make(tmp_path)
    with pytest.raises(DataError) as caught:
        check_training(read_texts(path, **case.options))
    message = str(caught.value)
    assert path.name in message
    for fragment in case.says:
        assert fragment in message
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_good_rows_are_good(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text(csv_text())
    table = read_texts(path)
    assert list(zip(table.texts, table.labels or [], strict=True)) == GOOD_ROWS
    assert check_training(table) == [
        f"{path}: classes with fewer than 20 rows are learnt badly: 'negative' (6), 'positive' (6)"
    ]
