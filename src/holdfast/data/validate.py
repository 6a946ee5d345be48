"""What is wrong with the rows as a whole, found before any training: refused, or said as a warning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from holdfast.data.duplicates import duplicated_in, repeated
from holdfast.data.labels import count_classes, suggestion
from holdfast.data.table import TextTable
from holdfast.errors import DataError

FEWEST_ROWS_PER_CLASS = 3
FEW_ROWS_PER_CLASS = 20
IMBALANCE = 4.0

_SCORED_TWICE = "scores are given with and without them"


def training_warnings(
    train: TextTable, valid: TextTable | None = None, test: TextTable | None = None
) -> list[str]:
    """Everything about the rows that a person should know before training.

    Args:
        train: the rows to learn from, which `check_enough` has let pass.
        valid: the rows that choose among models.
        test: the rows that give the score, if there are any.

    Returns:
        Warnings, one sentence each: few rows, imbalance, repeated texts within and across the parts, one text
        with several labels, classes that a part lacks.

    Raises:
        DataError: a label in another part that the training rows do not have.
    """
    warnings = imbalance_warnings(train) + duplicate_warnings(train)
    if valid is not None:
        warnings += _part_warnings(train, valid, "validation", "the choices made by them are too optimistic")
    if test is not None:
        warnings += _part_warnings(train, test, "test", _SCORED_TWICE)
    if valid is not None and test is not None:
        warnings += overlap_warnings(valid, test, "the validation rows", _SCORED_TWICE)
    return warnings


def check_enough(train: TextTable) -> None:
    """Refuses training rows from which nothing can be learnt.

    Raises:
        DataError: there are no labels, fewer than two classes, or a class with fewer than 3 rows.
    """
    counts = count_classes(_names(train))
    if len(counts) < 2 and not _is_multi_label(train):
        only = next(iter(counts), None)
        raise DataError(
            f"{train.source}: all {len(train.texts)} rows have the label {only!r}; a classifier needs at "
            "least two classes"
        )
    if not counts:
        raise DataError(f"{train.source}: none of the {len(train.texts)} rows has a label")
    for name, count in counts.items():
        if count < FEWEST_ROWS_PER_CLASS:
            rows = [row for row, names in zip(train.rows, _names(train), strict=True) if name in names]
            larger = [other for other in counts if counts[other] >= FEWEST_ROWS_PER_CLASS]
            raise DataError(
                f"{train.source}, {rows_text(rows)}: class {name!r} has {count} of {len(train.texts)} rows; "
                f"each class needs at least {FEWEST_ROWS_PER_CLASS}. Correct the label, leave the class out, "
                f"or add rows.{suggestion(name, larger)}"
            )


def imbalance_warnings(train: TextTable) -> list[str]:
    """Classes with few rows, and a largest class at least 4 times the smallest."""
    counts = count_classes(_names(train))
    few = [f"{name!r} ({count})" for name, count in counts.items() if count < FEW_ROWS_PER_CLASS]
    warnings = []
    if few:
        warnings.append(
            f"{train.source}: classes with fewer than {FEW_ROWS_PER_CLASS} rows are learnt badly: "
            f"{', '.join(few)}"
        )
    smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[largest] >= IMBALANCE * counts[smallest]:
        warnings.append(
            f"{train.source}: the classes are imbalanced: {largest!r} has {counts[largest]:,} rows, "
            f"{smallest!r} {counts[smallest]:,}; judge by F1, not by accuracy alone"
        )
    return warnings


def duplicate_warnings(table: TextTable, part: str | None = None) -> list[str]:
    """Texts that occur more than once in a table, and those among them whose labels differ.

    Args:
        table: the rows.
        part: what they are, such as `"test"`; None: the rows to learn from.
    """
    groups = repeated(table.texts)
    if not groups:
        return []
    labels = table.labels or [""] * len(table.texts)
    contradicting = [group for group in groups if len({labels[index] for index in group}) > 1]
    extra = sum(len(group) - 1 for group in groups)
    such = f"(such as {_rows(table, groups[0])})"
    repeats = (
        f"{extra:,} rows repeat a text of another row {such}; the same texts are kept on one side of every "
        "split"
        if part is None
        else f"{extra:,} of the {part} rows repeat a text of another of them {such}; each counts"
    )
    warnings = [f"{table.source}: {repeats}"]
    if contradicting:
        whose = "" if part is None else f" of the {part} rows"
        warnings.append(
            f"{table.source}: {len(contradicting):,} texts{whose} occur with different labels (such as "
            f"{_rows(table, contradicting[0])}); no model can get them all right"
        )
    return warnings


def overlap_warnings(known: TextTable, part: TextTable, known_as: str, so: str) -> list[str]:
    """Rows of a part whose text also occurs among the known rows, and what follows from it."""
    indices = np.flatnonzero(duplicated_in(part.texts, known.texts))
    if not len(indices):
        return []
    rows = [part.rows[index] for index in indices]
    shared = (
        f"{part.source}: {len(rows):,} of {len(part.texts):,} texts also occur in {known_as} "
        f"({rows_text(rows)}); {so}"
    )
    return [shared]


def rows_text(rows: Sequence[int], most: int = 5) -> str:
    """`row 4`, or `rows 4, 9, 12, ...`."""
    shown = ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}"


def _part_warnings(train: TextTable, part: TextTable, name: str, if_shared: str) -> list[str]:
    classes = list(count_classes(_names(train)))
    for row, names in zip(part.rows, _names(part), strict=True):
        for one in names:
            if one not in classes:
                raise DataError(
                    f"{part.source}, row {row}: label {one!r} does not occur in the training rows, whose "
                    f"classes are {', '.join(map(repr, classes[:10]))}.{suggestion(one, classes)}"
                )
    warnings = duplicate_warnings(part, name)
    warnings += overlap_warnings(train, part, "the training rows", if_shared)
    counts = Counter(one for names in _names(part) for one in names)
    missing = [repr(one) for one in classes if not counts[one]]
    if missing:
        warnings.append(f"{part.source}: the {name} rows have no row of class {', '.join(missing)}")
    return warnings


def _names(table: TextTable) -> list[tuple[str, ...]]:
    if table.labels is None:
        raise DataError(f"{table.source}: was read without labels, and training needs them")
    return [(label,) if isinstance(label, str) else label for label in table.labels]


def _is_multi_label(table: TextTable) -> bool:
    return bool(table.labels) and isinstance(table.labels[0], tuple)  # type: ignore[index]


def _rows(table: TextTable, indices: Sequence[int]) -> str:
    return rows_text([table.rows[index] for index in indices])
