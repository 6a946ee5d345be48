"""Labels: cells to class names, and what makes a column no set of classes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.data.raw import RawTable
from holdfast.data.text_cells import is_missing, is_number
from holdfast.errors import DataError

MOST_NUMERIC_CLASSES = 30

SEPARATORS = "|;,/"


def label_of(cell: object, place: str, source: str) -> str:
    """The class name in a cell; empty when the cell is.

    Whole numbers are written without a point and truths as `true` and `false`, so that the same column gives
    the same names from every format.

    Raises:
        DataError: the cell is a list or another structure.
    """
    if is_missing(cell):
        return ""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, list | tuple | dict | set):
        raise DataError(
            f"{source}, {place}: the label is a {type(cell).__name__}; for several labels in a row give "
            "label_separator='|'"
        )
    return str(cell)


def labels_of(cell: object, separator: str, place: str, source: str) -> tuple[str, ...]:
    """The class names in a cell that may hold several, without repeats, in order of name."""
    if isinstance(cell, list | tuple | set):
        parts: Iterable[Any] = cell
    elif isinstance(cell, str):
        parts = cell.split(separator)
    else:
        parts = [cell]
    names = {label_of(part, place, source) for part in parts}
    return tuple(sorted(names - {""}))


def label_cells(raw: RawTable, position: int, separator: str | None) -> list[tuple[str, ...]]:
    """The labels of each record, a tuple with or without a separator; an empty cell is an empty tuple.

    Raises:
        DataError: a cell is a list or another structure, and no separator is given.
    """
    names: list[tuple[str, ...]] = []
    for index, cell in enumerate(raw.column(position)):
        place = raw.place(index)
        if separator is None:
            name = label_of(cell, place, raw.source)
            names.append((name,) if name else ())
        else:
            names.append(labels_of(cell, separator, place, raw.source))
    return names


def check_known(
    raw: RawTable, names: Sequence[tuple[str, ...]], kept: Sequence[int], classes: Sequence[str]
) -> None:
    """Refuses labels that a saved model does not know.

    Raises:
        DataError: names the first row and the nearest known class.
    """
    known = set(classes)
    unknown = [
        (index, name) for index, row in zip(kept, names, strict=True) for name in row if name not in known
    ]
    if not unknown:
        return
    index, name = unknown[0]
    others = f" ({len(unknown) - 1} more rows are like that)" if len(unknown) > 1 else ""
    raise DataError(
        f"{raw.source}, {raw.place(index)}: label {name!r} is not one of "
        f"{_listed(classes)}.{suggestion(name, classes)}{others}"
    )


def check_classes(source: str, column: str, counts: Mapping[str, int], rows: int) -> None:
    """Refuses a label column that holds measurements or free text.

    Raises:
        DataError: the labels look like a regression target, or nearly every row has its own.
    """
    if len(counts) > 2 and all(is_number(name) for name in counts):
        whole = all(float(name).is_integer() for name in counts)
        if len(counts) > (MOST_NUMERIC_CLASSES if whole else 10) and len(counts) > 0.05 * rows:
            raise DataError(
                f"{source}: column {column!r} has {len(counts)} different numbers in {rows} rows: this looks "
                "like a regression target, not like classes; name another label column, or group the numbers"
            )
    if rows >= 10 and len(counts) > 0.5 * rows:
        example = next(iter(counts))
        shown = example if len(example) <= 40 else example[:37] + "..."
        raise DataError(
            f"{source}: column {column!r} has {len(counts)} different labels in {rows} rows (such as "
            f"{shown!r}): this looks like text or a row number, not like classes; name the label column"
        )


def spelling_warnings(counts: Mapping[str, int]) -> list[str]:
    """Classes whose names differ in upper and lower case only."""
    variants: dict[str, list[str]] = {}
    for name in counts:
        variants.setdefault(name.casefold(), []).append(name)
    return [
        f"labels that differ only in case count as different classes: {_listed(names)}"
        for names in variants.values()
        if len(names) > 1
    ]


def separator_hint(counts: Mapping[str, int]) -> list[str]:
    """That a sign in the names looks as if it stood between several labels: its parts occur repeatedly."""
    for sign in SEPARATORS:
        joined = [name for name in counts if sign in name]
        parts = Counter(part.strip() for name in counts for part in set(name.split(sign)))
        if len(joined) > 1 and all(parts[part.strip()] > 1 for name in joined for part in name.split(sign)):
            shown = (
                f"{len(joined)} of {len(counts)} classes have a {sign!r} in the name, such as {joined[0]!r}"
            )
            return [f"{shown}: if that stands between several labels, give label_separator={sign!r}"]
    return []


def count_classes(names: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """How many rows each class has, in order of name."""
    counts = Counter(name for row in names for name in row)
    return {name: counts[name] for name in sorted(counts)}


def suggestion(name: str, names: Sequence[str]) -> str:
    """` Did you mean "..."?` with the nearest name, or nothing."""
    lowered = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), list(lowered), n=1, cutoff=0.6)
    return f" Did you mean {lowered[near[0]]!r}?" if near else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
