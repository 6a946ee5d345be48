"""CSV and TSV: strict, so that a broken row is an error with its number and never a shifted column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from holdfast.data import files
from holdfast.data.raw import RawTable
from holdfast.errors import DataError

MAX_CELL_CHARACTERS = 50_000_000
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}

Record = tuple[int, list[str]]


def read_delimited(path: Path, delimiter: str, encoding: str | None) -> RawTable:
    """Reads a CSV (`,`) or TSV (tab) file with a header line.

    A file whose header is separated by another sign is read by that sign, with a warning. A TSV file whose
    quotation marks do not follow the rules of CSV is read with the marks as plain characters.

    A blank line is no record: it is left out and reported, at the end of the file only where there is one
    column. In a file with one column `""` is a record with an empty cell, as CSV is written.

    Raises:
        DataError: the file cannot be read; a row has more or fewer cells than the header; quotation marks do
            not match; there is no record; a column name occurs twice.
    """
    text, notes = files.decode(path, files.read_bytes(path), encoding, _row_of(delimiter))
    if not text.strip():
        raise DataError(f"{path}: is empty; expected a header line and a record on each line")
    delimiter, warning = _delimiter(text, delimiter)
    notes += warning
    plain = _plain_lines(text, delimiter) if delimiter == "\t" else None
    if plain is not None:
        records, extra = plain
        notes += extra
    else:
        records = list(_quoted(path, text, delimiter))
    filled = [number for number, (_, cells) in enumerate(records) if not _is_blank(cells)]
    if not filled:
        raise DataError(f"{path}: has only empty cells; expected a header line and a record on each line")
    header = _header(path, records[filled[0]][1])
    body, blank = _body(records[filled[0] + 1 :], len(header))
    if blank and len(header) == 1:
        notes.append('a blank line is no record, so it gets no prediction; write an empty text as ""')
    _check_widths(path, header, body, delimiter)
    if not body:
        raise DataError(f"{path}: has a header line ({', '.join(header)}) but no records")
    return RawTable(
        str(path),
        header,
        lambda position: [cells[position] for _, cells in body],
        [row for row, _ in body],
        warnings=tuple(notes),
        dropped=(("nothing but a blank line", blank),) if blank else (),
    )


def _body(records: list[Record], columns: int) -> tuple[list[Record], tuple[int, ...]]:
    """The records, and the rows that are none: blank lines, and single empty cells beside more columns."""
    if columns == 1:
        return [entry for entry in records if entry[1]], tuple(row for row, cells in records if not cells)
    body = [entry for entry in records if not _is_blank(entry[1])]
    last = body[-1][0] if body else 0
    return body, tuple(row for row, cells in records if row < last and _is_blank(cells))


def _delimiter(text: str, expected: str) -> tuple[str, list[str]]:
    first = next(line for line in text.splitlines() if line.strip())
    if expected in first:
        return expected, []
    counts = {sign: first.count(sign) for sign in _OTHER_DELIMITERS if sign in first}
    if not counts:
        return expected, []
    sign = max(counts, key=counts.__getitem__)
    lines = [line for line in text[:100_000].splitlines()[1:20] if line.strip()]
    # A comma or bar inside one name is no reason to cut; the next lines must have it as well.
    if not lines or sum(sign in line for line in lines) < 0.8 * len(lines):
        return expected, []
    return sign, [f"separated by {_OTHER_DELIMITERS[sign]}, so read that way"]


def _plain_lines(text: str, delimiter: str) -> tuple[list[Record], list[str]] | None:
    """The lines cut at the delimiter, if no cell needs the quotation rules of CSV; else None."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    records = [(number, line.split(delimiter) if line else []) for number, line in enumerate(lines, 1)]
    width = len(records[0][1])
    if any(cells and len(cells) != width for _, cells in records):
        return None
    marked = [cell for _, cells in records for cell in cells if cell.startswith('"')]
    if not marked:
        return records, []
    if all(_is_quoted(cell) for cell in marked):
        return None
    return records, ["quotation marks taken as plain characters (they do not enclose whole cells)"]


def _is_quoted(cell: str) -> bool:
    inner = cell[1:-1]
    return len(cell) > 1 and cell.endswith('"') and '"' not in inner.replace('""', "")


def _row_of(delimiter: str) -> files.RowOf:
    def row_of(text: str) -> int:
        # A sign at the end, so that a text that ends with a line break counts as one row more.
        return sum(1 for _ in csv.reader(io.StringIO(text + "x", newline=""), delimiter=delimiter))

    return row_of


def _is_blank(cells: list[str]) -> bool:
    return len(cells) < 2 and not any(cell.strip() for cell in cells)


def _quoted(path: Path, text: str, delimiter: str) -> Iterator[Record]:
    limit = csv.field_size_limit(MAX_CELL_CHARACTERS)
    row = 1
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            yield row, cells
            row += 1
    except csv.Error as error:
        raise DataError(f"{path}, row {row}: {_csv_reason(str(error))}") from None
    finally:
        csv.field_size_limit(limit)


def _csv_reason(message: str) -> str:
    if "unexpected end of data" in message or "field larger" in message:
        return "a quotation mark opens a cell and is never closed; close it, and write inner marks twice"
    if "expected after" in message:
        return (
            "a closing quotation mark is followed by more text; write a mark inside a cell twice "
            '(""), not with a backslash'
        )
    return f"is not valid CSV: {message}"


def _header(path: Path, cells: list[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() or f"(column {number})" for number, cell in enumerate(cells, 1))
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError(
                f"{path}, row 1: the column name {name!r} occurs twice, in columns {names.index(name) + 1} "
                f"and {number + 1}; rename one"
            )
    return names


def _check_widths(path: Path, header: tuple[str, ...], body: list[Record], delimiter: str) -> None:
    wrong = [(row, len(cells)) for row, cells in body if len(cells) != len(header)]
    if not wrong:
        return
    row, count = wrong[0]
    others = f" ({len(wrong) - 1} more rows are like that)" if len(wrong) > 1 else ""
    sign = "tab" if delimiter == "\t" else repr(delimiter)
    advice = f'; put text that contains a {sign} in quotation marks "..."' if count > len(header) else ""
    raise DataError(
        f"{path}, row {row}: has {count} {'cell' if count == 1 else 'cells'}, the header has {len(header)} "
        f"({', '.join(header)}){advice}{others}"
    )
