"""Cells of the text column: what is text, what is empty, and what is refused."""

from __future__ import annotations

import math

from holdfast.data.raw import RawTable
from holdfast.errors import DataError

_MISSING_TYPES = {"NAType", "NaTType"}


def is_missing(cell: object) -> bool:
    """Whether a cell is empty: None, NaN, or the missing value of pandas."""
    return (
        cell is None
        or (isinstance(cell, float) and math.isnan(cell))
        or type(cell).__name__ in _MISSING_TYPES
    )


def is_number(text: str) -> bool:
    """Whether the text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def text_cells(raw: RawTable, position: int) -> tuple[list[str], list[str]]:
    """The texts of a column, white space at the ends removed, a missing one empty; and warnings.

    Raises:
        DataError: a cell is not text, or the column holds only numbers.
    """
    name = raw.columns[position]
    texts = []
    for index, cell in enumerate(raw.column(position)):
        if not isinstance(cell, str) and not is_missing(cell):
            raise DataError(
                f"{raw.source}, {raw.place(index)}: column {name!r} holds type {type(cell).__name__} "
                f"({_short(cell)}), expected text; name the text column"
            )
        texts.append(cell.strip() if isinstance(cell, str) else "")
    filled = [text for text in texts if text]
    if len(filled) > 1 and all(is_number(text) for text in filled):
        raise DataError(
            f"{raw.source}: column {name!r} holds only numbers (such as {_short(filled[0])}), expected text; "
            "name the text column"
        )
    return _replace_surrogates(texts)


def _replace_surrogates(texts: list[str]) -> tuple[list[str], list[str]]:
    valid = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    changed = sum(old != new for old, new in zip(texts, valid, strict=True))
    return valid, [f"{changed} texts hold half of a surrogate pair, replaced by '?'"] if changed else []


def _short(cell: object) -> str:
    shown = str(cell)
    return shown if len(shown) <= 40 else shown[:37] + "..."
