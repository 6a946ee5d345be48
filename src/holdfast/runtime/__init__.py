"""Trained networks without torch: numpy and the compiled core."""

from __future__ import annotations

from holdfast.runtime.prepared import Prepared, prepare

__all__ = ["Prepared", "prepare"]
