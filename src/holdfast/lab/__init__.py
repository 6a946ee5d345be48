"""The classic experiments of the LSTM literature as runnable, scored tasks."""

from __future__ import annotations

from holdfast.lab.experiment import Case, Experiment, Outcome

__all__ = ["Case", "Experiment", "Outcome"]
