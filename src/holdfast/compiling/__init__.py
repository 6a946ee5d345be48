"""Cells of a user's own in the compiled core: printed, compiled once by the system's compiler, and loaded."""

from __future__ import annotations

from holdfast.compiling.own_cells import loaded_variants, printed_for

__all__ = ["loaded_variants", "printed_for"]
