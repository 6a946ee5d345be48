"""What the training loop tells whoever watches it."""

from __future__ import annotations

from holdfast.training.history import EpochRow


class Listener:
    """Hears everything and says nothing; a progress bar overrides what it wants to show."""

    def read(self, lines: list[str]) -> None:
        """What was read: lines for the user."""

    def message(self, text: str) -> None:
        """One line for the user."""

    def start(self, epochs: int, steps_per_epoch: int) -> None:
        """Training begins, or goes on."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step is done: `epoch` and `step` count from 1, `loss` is of this batch."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is done and validated."""
