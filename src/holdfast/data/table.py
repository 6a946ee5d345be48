"""Texts and their labels from a file, a folder, a data frame or lists, with a report of what was read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.data.columns import pick_columns
from holdfast.data.labels import (
    check_classes,
    check_known,
    count_classes,
    label_cells,
    separator_hint,
    spelling_warnings,
)
from holdfast.data.raw import RawTable
from holdfast.data.readers import read_raw
from holdfast.data.report import Dropped, ReadReport
from holdfast.data.text_cells import text_cells
from holdfast.errors import ConfigError, DataError

__all__ = ["Dropped", "ReadReport", "TextTable", "read_texts"]

Names = list[tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class TextTable:
    """Texts with their labels.

    Args:
        texts: N texts, none empty unless it was read for prediction.
        labels: N class names, or N tuples of class names in multi-label mode; None: not read.
        rows: the spreadsheet row of each record: in a CSV file row 1 is the header line, elsewhere the
            first record. Rows that were left out are missing here.
        source: what to call the file in messages.
        report: what was read.
    """

    texts: list[str]
    labels: list[str] | list[tuple[str, ...]] | None
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

    Records with an empty text or an empty label are left out and reported. Without labels an empty text
    stays, so that there is a prediction for every record; a blank line of a file is no record, but `""` is
    one in a file with one column.

    Args:
        source: a path (.csv, .tsv, .jsonl, each also .gz; .parquet; a folder with one sub-folder of .txt
            files per class), a data frame of pandas or polars, a list of texts, or a pair (texts, labels).
        text: the name of the text column; None: guessed from the names.
        label: the name of the label column; None: guessed from the names if labels are needed.
        need_labels: whether labels must be there; False reads them only if `label` names their column.
        classes: the classes of a saved model; any other label is an error.
        label_separator: what stands between the labels of a record in multi-label mode, such as `"|"`; None:
            each record has one label. In multi-label mode a record may have no label.
        encoding: of a text file; None: UTF-8.

    Raises:
        DataError: the data cannot be used; says the file, the row, and what to do.
        ConfigError: label_separator is empty.
        MissingExtraError: the format needs a package that is not installed.
    """
    if label_separator == "":
        raise ConfigError("label_separator is empty; give the sign between labels, such as '|'")
    raw = read_raw(source, encoding, need_labels or label is not None)
    text_at, label_at = pick_columns(raw, text, label, need_labels)
    texts, notes = text_cells(raw, text_at)
    names = None if label_at is None else label_cells(raw, label_at, label_separator)
    kept, dropped = _keep(raw, texts, names, label_separator is not None)
    texts = [texts[index] for index in kept]
    counts: dict[str, int] = {}
    if names is not None and label_at is not None:
        names = [names[index] for index in kept]
        counts = count_classes(names)
        notes += spelling_warnings(counts)
        notes += separator_hint(counts) if label_separator is None else []
        if classes is not None:
            check_known(raw, names, kept, classes)
        elif label_separator is None:
            check_classes(raw.source, raw.columns[label_at], counts, len(kept))
    report = ReadReport(
        source=raw.source,
        rows_read=len(kept) + sum(len(entry.rows) for entry in dropped),
        rows_kept=len(kept),
        text_column=raw.columns[text_at],
        label_column=None if label_at is None else raw.columns[label_at],
        dropped=dropped,
        warnings=(*raw.warnings, *notes, *_empty_warnings(texts)),
        classes=counts,
        length_words=_length_words(texts),
    )
    labels = [name for (name,) in names] if names is not None and label_separator is None else names
    return TextTable(texts, labels, [raw.rows[index] for index in kept], raw.source, report)


def _keep(
    raw: RawTable, texts: list[str], names: Names | None, multi_label: bool
) -> tuple[list[int], tuple[Dropped, ...]]:
    kept: list[int] = []
    left_out: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if not text and names is not None:
            left_out.setdefault("an empty text", []).append(index)
        elif names is not None and not names[index] and not multi_label:
            left_out.setdefault("an empty label", []).append(index)
        else:
            kept.append(index)
    if not kept or not any(texts):
        counts = [f"{len(indices)} with {reason}" for reason, indices in left_out.items()]
        reasons = " and ".join(counts) or "all with an empty text"
        raise DataError(f"{raw.source}: none of the {len(texts)} records can be used: {reasons}")
    dropped = [Dropped(reason, rows) for reason, rows in raw.dropped]
    for reason, indices in left_out.items():
        places = () if raw.places is None else tuple(raw.places[index] for index in indices)
        dropped.append(Dropped(reason, tuple(raw.rows[index] for index in indices), places))
    return kept, tuple(dropped)


def _empty_warnings(texts: list[str]) -> list[str]:
    empty = sum(not text for text in texts)
    return [f"{empty} texts are empty; their predictions mean nothing"] if empty else []


def _length_words(texts: list[str]) -> dict[str, int]:
    counts = np.array([len(text.split()) for text in texts])
    p95 = int(np.percentile(counts, 95, method="higher"))
    return {"min": int(counts.min()), "median": int(np.median(counts)), "p95": p95, "max": int(counts.max())}
