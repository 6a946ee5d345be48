"""Data frames of pandas, polars or pyarrow, through narwhals: the one file that uses it."""

from __future__ import annotations

from typing import Any

from holdfast.data.raw import RawTable
from holdfast.errors import DataError, require


def is_frame(source: object) -> bool:
    """Whether this is a table of a data-frame library, told without importing any."""
    library = type(source).__module__.partition(".")[0]
    return library in {"pandas", "polars", "pyarrow", "modin", "narwhals"} and hasattr(source, "columns")


def read_frame(frame: Any, source: str) -> RawTable:
    """The columns of a data frame; the first row is row 1.

    Raises:
        DataError: it has no rows, a column name occurs twice, or it is a lazy frame.
        MissingExtraError: narwhals is not installed.
    """
    narwhals = require("narwhals", "train", "reading a data frame")
    names = [str(name) for name in getattr(frame, "columns", [])]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source}: the column name {twice!r} occurs twice; rename one")
    try:
        table = narwhals.from_native(frame, eager_only=True)
    except TypeError:
        raise DataError(
            f"{source}: is a {type(frame).__name__} that cannot be read; collect it into a data frame first"
        ) from None
    if not len(table):
        raise DataError(f"{source}: has no rows")
    columns = list(table.columns)
    return RawTable(
        source,
        tuple(str(name) for name in columns),
        lambda position: table[columns[position]].to_list(),
        range(1, len(table) + 1),
    )
