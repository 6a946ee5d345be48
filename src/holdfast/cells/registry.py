"""Every cell by name."""

from __future__ import annotations

import difflib

from holdfast.cells.cell import Cell
from holdfast.cells.lstm import LSTM
from holdfast.cells.peephole import PEEPHOLE
from holdfast.cells.rnn import RNN
from holdfast.errors import ConfigError

CELLS: dict[str, Cell] = {cell.name: cell for cell in (LSTM, PEEPHOLE, RNN)}


def get(name: str | Cell) -> Cell:
    """The cell of that name; a cell is its own name.

    Raises:
        ConfigError: there is no such cell; the message lists those there are.
    """
    if isinstance(name, Cell):
        return name
    if name in CELLS:
        return CELLS[name]
    close = difflib.get_close_matches(str(name), CELLS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"cell is {name!r}; it must be one of {', '.join(CELLS)}.{hint}")
