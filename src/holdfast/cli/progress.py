"""What a person sees while a model is trained: a bar in a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from holdfast.training.history import EpochRow
    from holdfast.training.progress import Listener
else:
    Listener = object  # the training room is not imported before a verb runs; every method is here

SECONDS_BETWEEN_LINES = 30.0
SMOOTHING = 0.95


class Lines(Listener):
    """Plain lines: one for what was read, one for an epoch, and at most one in 30 s within an epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.epochs = 0
        self.steps_per_epoch = 0
        self.began = 0.0
        self.printed = 0.0
        self.steps = 0
        self.loss: float | None = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more will come, for now."""

    def read(self, lines: list[str]) -> None:
        for index, line in enumerate(lines):
            indented = index > 0 and not line.startswith("note: ")
            self.console.print(f"  {line}" if indented else line, style=_style(line))

    def message(self, text: str) -> None:
        self.close()
        self.console.print(text)

    def start(self, epochs: int, steps_per_epoch: int) -> None:
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.began = self.printed = time.monotonic()
        self.steps = 0

    def step(self, epoch: int, step: int, loss: float) -> None:
        self.steps += 1
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        self.show(epoch, step)

    def show(self, epoch: int, step: int) -> None:
        """Show where training stands."""
        if time.monotonic() - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = time.monotonic()
        left = (self.epochs * self.steps_per_epoch - self.done(epoch, step)) / self.rate()
        self.console.print(
            f"epoch {epoch}/{self.epochs}, step {step} of {self.steps_per_epoch}: loss {self.loss:.4f}, "
            f"{self.rate():.1f} steps/s, at most {_duration(left)} left"
        )

    def epoch(self, row: EpochRow) -> None:
        self.printed = time.monotonic()
        self.console.print(
            f"epoch {row.epoch}/{self.epochs}: train loss {row.train_loss:.3f}, "
            f"valid loss {row.valid_loss:.3f}, "
            f"accuracy {100 * row.valid_accuracy:.1f} %, clipped {100 * row.clipped_share:.0f} %"
        )

    def done(self, epoch: int, step: int) -> int:
        """Steps done since the very first one, those before a resume included."""
        return (epoch - 1) * self.steps_per_epoch + step

    def rate(self) -> float:
        """Steps per second, since training began or went on."""
        return self.steps / max(time.monotonic() - self.began, 1e-6)


class Bar(Lines):
    """The same lines, and below them a bar with epoch, loss, steps per second and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.progress: Progress | None = None
        self.task: Any = None

    def close(self) -> None:
        """Take the bar away; the lines stay."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def start(self, epochs: int, steps_per_epoch: int) -> None:
        super().start(epochs, steps_per_epoch)
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24 if self.console.width >= 70 else 10),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            transient=True,
        )
        self.task = self.progress.add_task("epoch 1", total=epochs * steps_per_epoch, numbers="")
        self.progress.start()

    def show(self, epoch: int, step: int) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(
                self.task,
                completed=self.done(epoch, step),
                description=f"epoch {epoch}/{self.epochs}",
                numbers=f"loss {self.loss:.3f} {self.rate():.1f}/s",
            )


class Silence(Lines):
    """Nothing at all."""

    def read(self, lines: list[str]) -> None: ...
    def message(self, text: str) -> None: ...
    def step(self, epoch: int, step: int, loss: float) -> None: ...
    def epoch(self, row: EpochRow) -> None: ...


def listener(console: Console, *, quiet: bool = False) -> Lines:
    """What suits `console`: a bar in a terminal, lines in a file or a pipe; nothing if `quiet`."""
    if quiet:
        return Silence(console)
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


def _style(line: str) -> str | None:
    return "yellow" if line.startswith("note: ") else None


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
