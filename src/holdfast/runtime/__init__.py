"""Trained networks without torch: numpy and the compiled core."""

from __future__ import annotations

from holdfast.runtime.core import release_memory
from holdfast.runtime.prepared import Prepared, prepare, prepare_arrays

__all__ = ["Prepared", "prepare", "prepare_arrays", "release_memory"]
