"""What was read, for a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Records that were left out: why, their rows, and their places where they have no rows (files)."""

    reason: str
    rows: tuple[int, ...]
    places: tuple[str, ...] = ()

    def line(self) -> str:
        """The record numbers and the reason, in one line."""
        places: Sequence[object] = self.places or self.rows
        shown = ", ".join(str(place) for place in places[:10]) + (", ..." if len(places) > 10 else "")
        word = "" if self.places else ("row " if len(places) == 1 else "rows ")
        return f"left out: {len(places):,} with {self.reason} ({word}{shown})"


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
        lines += [dropped.line() for dropped in self.dropped]
        return lines + [f"note: {warning}" for warning in self.warnings]

    def _shares(self) -> str:
        shown = [
            f"{name} {count:,} ({100 * count / self.rows_kept:.1f} %)" for name, count in self.classes.items()
        ]
        return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
