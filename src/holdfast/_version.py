"""The version of holdfast, in the one place that says it; the build reads this file."""

from __future__ import annotations

__version__ = "0.1.0"
