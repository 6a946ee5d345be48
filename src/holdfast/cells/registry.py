"""Every cell by name."""

from __future__ import annotations

import difflib

from holdfast.cells.cell import Cell
from holdfast.cells.coupled import COUPLED
from holdfast.cells.coupled_peephole import COUPLED_PEEPHOLE
from holdfast.cells.full_gate_recurrence import FULL_GATE_RECURRENCE
from holdfast.cells.layernorm import LAYERNORM
from holdfast.cells.lstm import LSTM
from holdfast.cells.no_forget_gate import NO_FORGET_GATE
from holdfast.cells.no_input_activation import NO_INPUT_ACTIVATION
from holdfast.cells.no_input_gate import NO_INPUT_GATE
from holdfast.cells.no_output_activation import NO_OUTPUT_ACTIVATION
from holdfast.cells.no_output_gate import NO_OUTPUT_GATE
from holdfast.cells.original import ORIGINAL
from holdfast.cells.peephole import PEEPHOLE
from holdfast.cells.rnn import RNN
from holdfast.errors import ConfigError

BUILT_IN = (
    LSTM,
    ORIGINAL,
    PEEPHOLE,
    COUPLED,
    LAYERNORM,
    RNN,
    NO_INPUT_GATE,
    NO_FORGET_GATE,
    NO_OUTPUT_GATE,
    NO_INPUT_ACTIVATION,
    NO_OUTPUT_ACTIVATION,
    COUPLED_PEEPHOLE,
    FULL_GATE_RECURRENCE,
)
CELLS: dict[str, Cell] = {cell.name: cell for cell in BUILT_IN}


def get(name: str | Cell) -> Cell:
    """The cell of that name; a cell is its own name.

    Raises:
        ConfigError: there is no such cell; the message lists those there are.
    """
    if isinstance(name, Cell):
        return name
    if isinstance(name, str) and name in CELLS:
        return CELLS[name]
    if callable(name):
        called = getattr(name, "__name__", repr(name))
        raise ConfigError(f"cell is {called}, which is no cell; decorate its function with @holdfast.cell")
    close = difflib.get_close_matches(str(name), CELLS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"cell is {name!r}; it must be one of {', '.join(CELLS)}.{hint}")
