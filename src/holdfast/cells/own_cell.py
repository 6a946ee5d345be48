"""A user's own cell as C++, to be compiled alone and loaded into the core."""

from __future__ import annotations

from holdfast.cells.cell import Cell
from holdfast.cells.core import Variants, printed_variants, reason_beyond_limits
from holdfast.cells.cpp import fused_struct, list_macro
from holdfast.cells.staged_cpp import staged_struct

# What the structs are called, whatever the cell is: a cell may be called like something of the core.
_NAME = "own_cell"

_HEADER = """\
// The steps of one cell, printed by src/holdfast/cells/own_cell.py; generated/ says how to read them.
#pragma once

#include "activations.h"
#include "cells_support.h"
#include "cuts.h"
#include "recurrence.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
"""

_FOOTER = """
}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
"""


def own_variants(cell: Cell) -> Variants | str:
    """The plain, the full and the projected variant of any cell without modifiers, at places 0, 1 and 2.

    Returns:
        The variants, each fused or staged; or what of the cell is more than the core has room for.
    """
    try:
        variants = printed_variants(cell, _NAME)
        reasons = [reason_beyond_limits(printed) for printed in variants]
    except RecursionError:
        return f"the equations of the cell {cell.name!r} are nested too deeply for the core"
    return next((reason for reason in reasons if reason is not None), variants)


def own_header(variants: Variants) -> str:
    """The text of a header with their structs.

    `HOLDFAST_OWN_FUSED_CELLS(X)` and `HOLDFAST_OWN_STAGED_CELLS(X)` call X(place, name) for each of a kind.
    """
    fused = [printed for printed in variants if not printed.staged]
    staged = [printed for printed in variants if printed.staged]
    structs = [*map(fused_struct, fused), *map(staged_struct, staged)]
    macros = [
        *list_macro("HOLDFAST_OWN_FUSED_CELLS", fused),
        *list_macro("HOLDFAST_OWN_STAGED_CELLS", staged),
    ]
    return "\n".join([_HEADER, *structs, *macros, _FOOTER])
