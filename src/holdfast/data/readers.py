"""Which reader reads what: a path by its ending, a folder, a data frame, or lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data import files
from holdfast.data.delimited import read_delimited
from holdfast.data.folder import read_folder
from holdfast.data.frames import is_frame, read_frame
from holdfast.data.jsonl import read_jsonl
from holdfast.data.parquet import read_parquet
from holdfast.data.raw import RawTable
from holdfast.errors import DataError

_ENDINGS = (
    ".csv, .tsv, .jsonl (each also .gz), .parquet, or a folder with one sub-folder of .txt files per class"
)


def read_raw(source: Any, encoding: str | None, need_labels: bool) -> RawTable:
    """Reads whatever was given, without picking columns.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: its format needs a package that is not installed.
    """
    if isinstance(source, str | Path):
        return _read_path(Path(source).expanduser(), encoding, need_labels)
    if is_frame(source):
        return read_frame(source, f"the {type(source).__module__.partition('.')[0]} data frame")
    return _read_lists(source, need_labels)


def _read_path(path: Path, encoding: str | None, need_labels: bool) -> RawTable:
    path = files.find(path)
    if path.is_dir():
        return read_folder(path, encoding, need_labels)
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    if ending == ".csv":
        return read_delimited(path, ",", encoding)
    if ending in (".tsv", ".tab"):
        return read_delimited(path, "\t", encoding)
    if ending in (".jsonl", ".ndjson"):
        return read_jsonl(path, encoding)
    if name.endswith((".parquet", ".pq")):
        return read_parquet(path)
    if ending in (".xlsx", ".xls", ".ods"):
        raise DataError(f"{path}: is a spreadsheet; export the sheet as CSV and give that file")
    shown = f"ends in {ending!r}" if ending else "has no ending that names a format"
    raise DataError(f"{path}: {shown}; this reads {_ENDINGS}")


def _read_lists(source: Any, need_labels: bool) -> RawTable:
    """A list of texts, or a pair (texts, labels); the first text is row 1."""
    labels: list[object] | None = None
    if isinstance(source, tuple) and len(source) == 2 and not any(isinstance(part, str) for part in source):
        texts, labels = _as_list(source[0]), _as_list(source[1])
        if len(texts) != len(labels):
            raise DataError(
                f"the lists: {len(texts)} texts but {len(labels)} labels; give one label for each text"
            )
    else:
        texts = _as_list(source)
    if not texts:
        raise DataError("the list of texts is empty")
    if labels is None and need_labels:
        raise DataError("the list of texts has no labels; give a pair (texts, labels)")
    for row, text in enumerate(texts, 1):
        if text is not None and not isinstance(text, str):
            raise DataError(f"the list of texts, row {row}: is of type {type(text).__name__}, expected text")
    return RawTable(
        "the list of texts",
        ("text",) if labels is None else ("text", "label"),
        lambda position: texts if position == 0 or labels is None else labels,
        range(1, len(texts) + 1),
    )


def _as_list(values: Any) -> list[object]:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return list(values.tolist())
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return list(values)
    if type(values).__module__.partition(".")[0] in {"pandas", "polars"} and hasattr(values, "to_list"):
        return list(values.to_list())
    raise DataError(
        f"cannot read data from type {type(values).__name__}; give a path, a data frame, a list of texts, "
        "or a pair (texts, labels)"
    )
