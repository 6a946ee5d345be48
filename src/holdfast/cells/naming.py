"""The names by which operators, which take no Python objects, know cells: `Cell.spec`, and the way back.

`lstm|clip(3.0)|project()`: a base, then its modifiers in order. The base of a cell that is not holdfast's own
carries a digest of its equations, so that a graph that was exported with one cell never runs another.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from holdfast.cells.printers import torch_function
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.cells.cell import Cell

# The cells of this process without their modifiers. Nothing in a spec is ever run: it is only looked up.
_bases: dict[str, Cell] = {}


def spec_of(cell: Cell) -> str:
    """The spec of a cell; from now on `cell_of` finds it."""
    base = _base_name(cell)
    if not cell.modifiers:
        _bases[base] = cell
    written = [f"|{name}({','.join(map(repr, numbers))})" for name, numbers in cell.modifiers]
    return "".join([base, *written])


def _base_name(cell: Cell) -> str:
    if cell.function.__module__ == f"holdfast.cells.{cell.name}":
        return cell.name
    parameters = [(own.name, own.feeds, own.columns) for own in cell.parameters]
    source = torch_function(cell.name, cell.base_inputs, cell.plain_values)
    equations = repr((cell.gates, cell.states, cell.split, parameters, source))
    return f"{cell.name}#{hashlib.sha256(equations.encode()).hexdigest()[:16]}"


@lru_cache(maxsize=256)
def cell_of(spec: str) -> Cell:
    """The cell of that spec.

    Raises:
        ConfigError: its base was not defined in this process, or was defined otherwise.
    """
    base, *modifiers = spec.split("|")
    if base not in _bases:
        name, _, digest = base.partition("#")
        otherwise = digest and any(other.startswith(f"{name}#") for other in _bases)
        raise ConfigError(
            f"cell {name!r} is {'defined otherwise' if otherwise else 'not defined'} in this process: import "
            "the module that defines it as it was"
        )
    cell = _bases[base]
    for modifier in modifiers:
        kind, _, numbers = modifier.rstrip(")").partition("(")
        cell = cell.modified(kind, *map(float, filter(None, numbers.split(","))))
    return cell
