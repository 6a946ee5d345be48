"""Speed: the recurrence behind one narrow interface, with several backends."""

from __future__ import annotations

from holdfast.kernels.choose import BackendStatus, backends, choose
from holdfast.kernels.interface import Backend, Request, Result, States, Weights
from holdfast.kernels.recurrence import explain, recurrence

__all__ = [
    "Backend",
    "BackendStatus",
    "Request",
    "Result",
    "States",
    "Weights",
    "backends",
    "choose",
    "explain",
    "recurrence",
]
