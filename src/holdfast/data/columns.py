"""Which column holds the text and which the label: as asked, or guessed from the names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from holdfast.data.raw import RawTable
from holdfast.errors import DataError

TEXT_NAMES = (
    "text", "review", "sentence", "content", "message", "body", "document", "comment", "tweet", "post", "sms",
    "email", "utterance", "question", "review_text", "reviewtext", "review_body", "full_text", "phrase",
    "abstract", "description", "title", "headline",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "sentiment", "class", "target", "category", "polarity", "y", "tag", "tags", "topic",
    "intent", "rating", "stars", "spam", "emotion", "type", "coarse_label",
)  # fmt: skip


def pick_columns(
    raw: RawTable, text: str | None, label: str | None, need_labels: bool
) -> tuple[int, int | None]:
    """The positions of the text column and of the label column.

    Args:
        raw: the table.
        text: the name of the text column; None: guessed.
        label: the name of the label column; None: guessed if labels are needed, else not read.
        need_labels: whether a table without labels is an error.

    Raises:
        DataError: a column is not there, both are the same, or a guess finds none; lists the columns.
    """
    text_at = None if text is None else _named(raw, text, "text")
    label_at = None if label is None else _named(raw, label, "label")
    if text_at is not None and text_at == label_at:
        raise DataError(
            f"{raw.source}: column {text!r} was asked for both as text and as label; name two columns"
        )
    if text_at is None:
        text_at = _guess(raw.columns, TEXT_NAMES, label_at)
    if label_at is None and need_labels:
        label_at = _guess(raw.columns, LABEL_NAMES, text_at)
    text_at, label_at = _only_other(raw.columns, text_at, label_at, need_labels)
    if text_at is None:
        raise DataError(_no_guess(raw, "text", TEXT_NAMES))
    if label_at is None and need_labels:
        raise DataError(_no_guess(raw, "label", LABEL_NAMES))
    return text_at, label_at


def _named(raw: RawTable, name: str, role: str) -> int:
    if name in raw.columns:
        return raw.columns.index(name)
    lowered = [column.lower() for column in raw.columns]
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    hint = f" Did you mean {raw.columns[lowered.index(near[0])]!r}?" if near else ""
    raise DataError(
        f"{raw.source}: has no {role} column {name!r}; its columns are {_list(raw.columns)}.{hint}"
    )


def _guess(columns: Sequence[str], names: Sequence[str], taken: int | None) -> int | None:
    lowered = {
        column.strip().lower().replace(" ", "_"): position
        for position, column in reversed(list(enumerate(columns)))
        if position != taken
    }
    return next((lowered[name] for name in names if name in lowered), None)


def _only_other(
    columns: Sequence[str], text_at: int | None, label_at: int | None, need_labels: bool
) -> tuple[int | None, int | None]:
    """With two columns and one of them known, the other one is known; with one column, it is the text."""
    if len(columns) == 1 and not need_labels:
        return 0, label_at
    if len(columns) == 2 and need_labels:
        if text_at is None and label_at is not None:
            return 1 - label_at, label_at
        if label_at is None and text_at is not None:
            return text_at, 1 - text_at
    return text_at, label_at


def _no_guess(raw: RawTable, role: str, names: Sequence[str]) -> str:
    message = (
        f"{raw.source}: no column looks like the {role} (such as {', '.join(names[:4])}); its columns are "
        f"{_list(raw.columns)}. Name it: {role}=... in Python, --{role} on the command line"
    )
    if any(len(column.split()) > 4 or column.replace(".", "").isdigit() for column in raw.columns):
        message += " If the first line is a record, put a header line such as text,label above it"
    return message


def _list(columns: Sequence[str]) -> str:
    shown = [repr(column if len(column) <= 40 else column[:37] + "...") for column in columns[:20]]
    return ", ".join(shown) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
