"""What every reader returns: named columns of cells, and where each record stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class RawTable:
    """A table as it was read, before text and label are picked.

    Args:
        source: what to call it in messages.
        columns: the names, in order.
        column: gives the cells of a column by its position.
        rows: the spreadsheet row of each record.
        places: where each record stands, for messages; None: `row 12`.
        warnings: what the reader noticed and did about it.
        dropped: records that the reader left out, by reason.
    """

    source: str
    columns: tuple[str, ...]
    column: Callable[[int], list[object]]
    rows: Sequence[int]
    places: Sequence[str] | None = None
    warnings: tuple[str, ...] = ()
    dropped: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def place(self, index: int) -> str:
        """Where record `index` stands: `row 12`, or its file."""
        return f"row {self.rows[index]}" if self.places is None else self.places[index]
