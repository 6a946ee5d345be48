"""Every kind of bad input gives one clear DataError with the file and, where there is one, the row."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from bad_input import BAD_INPUT, GOOD_ROWS, BadInput, csv_text
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.table import read_texts
from holdfast.data.validate import check_enough, training_warnings
from holdfast.errors import DataError


@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.name)
def test_is_refused_with_one_clear_message(case: BadInput, tmp_path: Path) -> None:
    path = case.make(tmp_path)
    with pytest.raises(DataError) as caught:
        check_enough(read_texts(path, **case.options))
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
    check_enough(table)
    assert training_warnings(table) == [
        f"{path}: classes with fewer than 20 rows are learnt badly: 'negative' (6), 'positive' (6)"
    ]


CONTENT = st.binary(max_size=80) | st.text('text,label"\n\r\t;|{}[]:\0é1.', max_size=80).map(str.encode)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_any_bytes_give_a_table_or_a_data_error(name: str, tmp_path: Path) -> None:
    numbers = itertools.count()

    @settings(max_examples=80)
    @given(content=CONTENT, good_start=st.booleans())
    def check(content: bytes, good_start: bool) -> None:
        content = (b"text,label\n" if good_start else b"") + content
        path = tmp_path / f"{next(numbers)}{name}"
        path.write_bytes(gzip.compress(content) if good_start and name.endswith(".gz") else content)
        try:
            table = read_texts(path)
        except DataError as error:
            message = str(error)
        else:
            message = path.name
            assert len(table.texts) == len(table.labels or []) == len(table.rows) > 0
        assert path.name in message

    check()
