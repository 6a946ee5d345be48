"""JSON lines: one object on each line. The first line is row 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.data import files
from holdfast.data.raw import RawTable
from holdfast.errors import DataError


def read_jsonl(path: Path, encoding: str | None) -> RawTable:
    """Reads a file with one JSON object on each line; the columns are all keys, in order of first occurrence.

    Raises:
        DataError: the file cannot be read, or a line is not an object, or has no record at all.
    """
    text, notes = files.decode(path, files.read_bytes(path), encoding, files.line_number)
    lines = [(row, line) for row, line in enumerate(text.split("\n"), 1) if line.strip()]
    records = [(row, _parse(path, row, line)) for row, line in lines]
    if not records:
        raise DataError(f"{path}: is empty; expected one JSON object on each line")
    keys = tuple(dict.fromkeys(key for _, record in records for key in record))

    def column(position: int) -> list[object]:
        key = keys[position]
        for row, record in records:
            if key not in record:
                raise DataError(f"{path}, row {row}: has no key {key!r}; it has {_names(record)}")
        return [record[key] for _, record in records]

    return RawTable(str(path), keys, column, [row for row, _ in records], warnings=tuple(notes))


def _parse(path: Path, row: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        if row == 1 and line.strip() in ("[", "{"):
            raise DataError(
                f"{path}, row 1: is one JSON document over many lines; write one object on each line"
            ) from None
        raise DataError(f"{path}, row {row}: is not valid JSON: {error}") from None
    if isinstance(record, dict):
        return record
    if isinstance(record, list) and record and isinstance(record[0], dict):
        raise DataError(f"{path}, row {row}: is a list of objects; write one object on each line")
    raise DataError(
        f"{path}, row {row}: is of type {type(record).__name__}, expected an object such as "
        '{"text": "...", "label": "..."}'
    )


def _names(record: dict[str, Any]) -> str:
    return ", ".join(map(repr, record)) or "none"
