"""Texts and their labels from a file, a folder, a data frame or lists, with a report of what was read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.data import labels as label_cells
from holdfast.data.columns import pick_columns
from holdfast.data.raw import RawTable
from holdfast.data.readers import read_raw
from holdfast.errors import DataError

Labels = list[str] | list[tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Records that were left out: why, their rows, and their places where rows are no help (a folder's files)."""

    reason: str
    rows: tuple[int, ...]
    places: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ReadReport:
    """What was read.

    Args:
        source: the file, or what else was given.
        rows_read: records in the source, the dropped ones included.
        rows_kept: records in the table.
        text_column: the name of the text column.
        label_column: the name of the label column; None: not read.
        dropped: what was left out and why.
        warnings: what a person should know, one sentence each.
        classes: rows of each class, by name.
        length_words: min, median, p95 and max of the number of words in a text.
    """

    source: str
    rows_read: int
    rows_kept: int
    text_column: str
    label_column: str | None
    dropped: tuple[Dropped, ...]
    warnings: tuple[str, ...]
    classes: dict[str, int]
    length_words: dict[str, int]

    def lines(self) -> list[str]:
        """The report for a person, a line for each fact."""
        left_out = self.rows_read - self.rows_kept
        tail = f", {left_out:,} left out" if left_out else ""
        lines = [f"{self.source}: {self.rows_kept:,} rows{tail}"]
        columns = f"text in column {self.text_column!r}"
        if self.label_column is not None:
            columns += f", label in column {self.label_column!r}"
        lines.append(columns)
        if self.classes:
            lines.append(f"classes: {self._shares()}")
        words = self.length_words
        lines.append(
            f"words in a text: {words['min']} to {words['max']}, median {words['median']}, 95 % have at most "
            f"{words['p95']}"
        )
        lines += [_dropped_line(dropped) for dropped in self.dropped]
        return lines + [f"note: {warning}" for warning in self.warnings]

    def _shares(self) -> str:
        shown = [f"{name} {count:,} ({count / self.rows_kept:.1%})" for name, count in self.classes.items()]
        return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


@dataclasses.dataclass(frozen=True)
class TextTable:
    """Texts with their labels.

    Args:
        texts: N texts, none empty unless it was read for prediction.
        labels: N class names, or N tuples of class names in multi-label mode; None: not read.
        rows: the spreadsheet row of each record: 1 is the header line of a CSV file, the first record elsewhere.
        source: what to call the file in messages.
        report: what was read.
    """

    texts: list[str]
    labels: Labels | None
    rows: list[int]
    source: str
    report: ReadReport


def read_texts(
    source: Any,
    *,
    text: str | None = None,
    label: str | None = None,
    need_labels: bool = True,
    classes: Sequence[str] | None = None,
    label_separator: str | None = None,
    encoding: str | None = None,
) -> TextTable:
    """Reads texts and labels.

    Records with an empty text or an empty label are left out and reported; with `need_labels=False` an empty text
    stays, so that there is a prediction for every record.

    Args:
        source: a path (.csv, .tsv, .jsonl, each also .gz; .parquet; a folder with one sub-folder of .txt files per
            class), a data frame of pandas or polars, a list of texts, or a pair (texts, labels).
        text: the name of the text column; None: guessed from the names.
        label: the name of the label column; None: guessed from the names if labels are needed.
        need_labels: whether labels must be there; False reads them only if `label` names their column.
        classes: the classes of a saved model; any other label is an error.
        label_separator: what stands between the labels of a record in multi-label mode, such as `"|"`; None:
            each record has one label. In multi-label mode no label at all is allowed.
        encoding: of a text file; None: UTF-8.

    Raises:
        DataError: the data cannot be used; says the file, the row, and what to do.
        MissingExtraError: the format needs a package that is not installed.
    """
    raw = read_raw(source, encoding, need_labels or label is not None)
    text_at, label_at = pick_columns(raw, text, label, need_labels)
    texts, text_notes = _texts(raw, text_at)
    names = None if label_at is None else _names(raw, label_at, label_separator)
    keep_empty_texts = names is None
    kept, dropped = _keep(raw, texts, names, keep_empty_texts, label_separator is not None)
    if not kept:
        reasons = " and ".join(f"{len(entry.rows)} with {entry.reason}" for entry in dropped)
        raise DataError(f"{raw.source}: no record can be used: of {len(raw.rows)}, {reasons}")
    counts = {}
    if names is not None and label_at is not None:
        names = [names[index] for index in kept]
        if classes is not None:
            label_cells.check_known(raw, names, kept, classes)
        counts = label_cells.count_classes(names)
        if label_separator is None and classes is None:
            label_cells.check_classes(raw.source, raw.columns[label_at], counts, len(kept))
    texts = [texts[index] for index in kept]
    empty = sum(not one for one in texts)
    notes = [*raw.warnings, *text_notes, *label_cells.spelling_warnings(counts)]
    notes += [f"{empty} texts are empty; their predictions mean nothing"] * bool(empty)
    reader_dropped = tuple(Dropped(reason, rows) for reason, rows in raw.dropped)
    report = ReadReport(
        source=raw.source,
        rows_read=len(raw.rows) + sum(len(entry.rows) for entry in reader_dropped),
        rows_kept=len(kept),
        text_column=raw.columns[text_at],
        label_column=None if label_at is None else raw.columns[label_at],
        dropped=reader_dropped + tuple(dropped),
        warnings=tuple(notes),
        classes=counts,
        length_words=_length_words(texts),
    )
    labels: Labels | None = None
    if names is not None:
        labels = names if label_separator is not None else [name for (name,) in names]
    return TextTable(texts, labels, [raw.rows[index] for index in kept], raw.source, report)


def _texts(raw: RawTable, position: int) -> tuple[list[str], list[str]]:
    cells = raw.column(position)
    texts = []
    for index, cell in enumerate(cells):
        if not isinstance(cell, str) and not label_cells.is_missing(cell):
            raise DataError(
                f"{raw.source}, {raw.place(index)}: the text in column {raw.columns[position]!r} is a "
                f"{type(cell).__name__}, expected text"
            )
        texts.append(cell.strip() if isinstance(cell, str) else "")
    filled = [text for text in texts if text]
    if len(filled) > 1 and all(_is_number(text) for text in filled):
        raise DataError(
            f"{raw.source}: column {raw.columns[position]!r} holds only numbers (such as {filled[0]}), expected text; "
            "name the text column"
        )
    return _replace_surrogates(texts)


def _replace_surrogates(texts: list[str]) -> tuple[list[str], list[str]]:
    valid = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    changed = sum(old != new for old, new in zip(texts, valid, strict=True))
    return valid, [f"{changed} texts hold half of a surrogate pair, replaced by '?'"] * bool(changed)


def _names(raw: RawTable, position: int, separator: str | None) -> list[tuple[str, ...]]:
    """The labels of each record, as a tuple in both modes; an empty label is an empty tuple."""
    names = []
    for index, cell in enumerate(raw.column(position)):
        place = raw.place(index)
        if separator is not None:
            names.append(label_cells.labels_of(cell, separator, place, raw.source))
        else:
            name = label_cells.label_of(cell, place, raw.source)
            names.append((name,) if name else ())
    return names


def _keep(
    raw: RawTable,
    texts: list[str],
    names: list[tuple[str, ...]] | None,
    keep_empty_texts: bool,
    multi_label: bool,
) -> tuple[list[int], list[Dropped]]:
    kept: list[int] = []
    left_out: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if not text and not keep_empty_texts:
            left_out.setdefault("an empty text", []).append(index)
        elif names is not None and not names[index] and not multi_label:
            left_out.setdefault("an empty label", []).append(index)
        else:
            kept.append(index)
    dropped = [
        Dropped(
            reason,
            tuple(raw.rows[index] for index in indices),
            () if raw.places is None else tuple(raw.places[index] for index in indices),
        )
        for reason, indices in left_out.items()
    ]
    return kept, dropped


def _length_words(texts: list[str]) -> dict[str, int]:
    counts = np.array([len(text.split()) for text in texts])
    p95 = int(np.percentile(counts, 95, method="higher"))
    return {"min": int(counts.min()), "median": int(np.median(counts)), "p95": p95, "max": int(counts.max())}


def _dropped_line(dropped: Dropped) -> str:
    places: Sequence[object] = dropped.places or dropped.rows
    shown = ", ".join(str(place) for place in places[:10]) + (", ..." if len(places) > 10 else "")
    word = "" if dropped.places else ("row " if len(places) == 1 else "rows ")
    return f"left out: {len(places):,} with {dropped.reason} ({word}{shown})"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
