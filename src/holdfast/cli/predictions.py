"""Predictions as a table, and the files it is written to: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.data.table import TextTable

ENDINGS = ".csv, .jsonl (each also .gz) or .parquet"
Columns = Mapping[str, Sequence[Any]]


def table(model: Any, rows: TextTable) -> dict[str, list[Any]]:
    """The columns row (as a spreadsheet counts), text, prediction and `probability_CLASS`."""
    proba = model.predict_proba(rows.texts)
    names = model.names(proba)
    if model.multilabel:
        names = [model.options.data.label_separator.join(labels) for labels in names]
    columns: dict[str, list[Any]] = {"row": rows.rows, "text": rows.texts, "prediction": names}
    for name, column in zip(model.classes, proba.T, strict=True):
        columns[f"probability_{name}"] = column.tolist()
    return columns


def check_output(out: str, data: str) -> Path:
    """The file to write, if it can be written.

    Raises:
        ConfigError: its ending names no format, its folder is missing, or it is a folder or the input itself.
    """
    path = Path(out).expanduser()
    if _ending(path) not in _FORMATS:
        raise ConfigError(
            f"{out}: predictions are written to a file that ends in {ENDINGS}; - is standard output"
        )
    if path.is_dir():
        raise ConfigError(f"{out}: is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {str(path.parent)!r}; make it first")
    if path.exists() and data != "-" and Path(data).exists() and path.samefile(data):
        raise ConfigError(f"{out}: is the input itself; give the predictions another name")
    return path.resolve()


def write(columns: Columns, path: Path) -> None:
    """Write `columns` in the format that the ending of `path` names; the file appears whole or not at all.

    Raises:
        ConfigError: the operating system refused.
        MissingExtraError: Parquet without polars.
    """
    data = encode(columns, _ending(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def encode(columns: Columns, ending: str) -> bytes:
    """`columns` as the bytes of a file; `ending` is one of those in `ENDINGS`, such as `.csv.gz`."""
    data = _FORMATS[ending](columns)
    return gzip.compress(data, mtime=0) if ending.endswith(".gz") else data


def _csv(columns: Columns) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "replace")


def _jsonl(columns: Columns) -> bytes:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "replace")


def _parquet(columns: Columns) -> bytes:
    from holdfast.data.parquet import parquet_bytes

    return parquet_bytes(columns)


_FORMATS = {
    ".csv": _csv,
    ".csv.gz": _csv,
    ".jsonl": _jsonl,
    ".jsonl.gz": _jsonl,
    ".parquet": _parquet,
}


def _ending(path: Path) -> str:
    name = path.name.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    return Path(name.removesuffix(".gz")).suffix + packed
