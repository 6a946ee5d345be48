"""Parquet, through polars: the one file that uses it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.data import files
from holdfast.data.frames import read_frame
from holdfast.data.raw import RawTable
from holdfast.errors import DataError, require


def read_parquet(path: Path) -> RawTable:
    """Reads a Parquet file; the first record is row 1.

    Raises:
        DataError: it is not a Parquet file, or a damaged one.
        MissingExtraError: polars is not installed.
    """
    polars = require("polars", "train", "reading Parquet")
    start = files.first_bytes(path, 16)
    if not start:
        raise DataError(f"{path}: is empty; expected a Parquet file")
    if not start.startswith(b"PAR1"):
        files.refuse_binary(path, start)
        raise DataError(f"{path}: is named .parquet but is not a Parquet file (it starts with {start[:4]!r})")
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: the Parquet file is damaged or cut off: {reason}") from None
    return read_frame(frame, str(path))


def parquet_bytes(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Columns of equal length as the bytes of a Parquet file.

    Raises:
        MissingExtraError: polars is not installed.
    """
    polars = require("polars", "train", "writing Parquet")
    file = io.BytesIO()
    polars.DataFrame({name: list(values) for name, values in columns.items()}).write_parquet(file)
    return file.getvalue()
