"""`holdfast train`: from a file to a saved model, its scores, and the commands to type next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli.consoles import command as called
from holdfast.errors import ModelFileError, TrainingInterrupted

if TYPE_CHECKING:
    from holdfast.tasks.task import Trained


@dataclass(frozen=True)
class TrainCommand:
    """What was typed after `holdfast train`."""

    task: str
    data: str
    out: str
    valid: str | None = None
    test: str | None = None
    config: str | None = None
    settings: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False

    @property
    def place(self) -> Path:
        """Where the model goes, by a path that ends in a name."""
        path = Path(self.out)
        return path if path.name not in ("", "..") else path.resolve()

    @property
    def checkpoint(self) -> Path:
        """Where training leaves its checkpoint."""
        return self.place.with_name(self.place.name + ".checkpoint")

    def to_resume(self) -> str:
        """The command that goes on from the checkpoint."""
        words = [called(), "train", self.task, self.data, "-o", self.out]
        for option in ("valid", "test", "config"):
            value = getattr(self, option)
            words += [] if value is None else [f"--{option}", value]
        for setting in self.settings:
            words += ["--set", setting]
        words += ["--overwrite"] * self.overwrite + ["--quiet"] * self.quiet
        return shlex.join([*words, "--resume"])


def run(command: TrainCommand) -> None:
    """Train, save, and print the scores.

    Raises:
        InputError, TrainingError: see `holdfast.train`.
        TrainingInterrupted, KeyboardInterrupt: says by which command to go on.
    """
    from holdfast.cli import consoles
    from holdfast.cli.score_table import print_scores

    trained = watched(command)
    console = consoles.results()
    print_scores(console, trained.scores)
    console.print()
    console.print("The model is saved:", command.out, soft_wrap=True)
    if not command.quiet:
        console.print("Next:")
        for line in next_commands(command):
            console.print(f"  {line}", soft_wrap=True)


def watched(command: TrainCommand) -> Trained:
    """Train while a person watches.

    Raises:
        InputError, TrainingError: see `holdfast.train`.
        TrainingInterrupted, KeyboardInterrupt: says by which command to go on.
    """
    from holdfast.cli import consoles
    from holdfast.cli.progress import listener

    if command.resume and not command.checkpoint.is_file():
        raise ModelFileError(
            f"{command.checkpoint}: there is no checkpoint to resume from; train without --resume"
        )
    with listener(consoles.progress(), quiet=command.quiet) as watcher:
        watcher.message("loading PyTorch and scikit-learn")
        from holdfast.tasks import find_task, train

        find_task(command.task)
        try:
            return train(
                command.task,
                command.data,
                command.place,
                valid=command.valid,
                test=command.test,
                config=command.config,
                settings=command.settings,
                overwrite=command.overwrite,
                resume=command.resume,
                listener=watcher,
            )
        except TrainingInterrupted as stop:
            where = str(stop).partition(". ")[0]
            raise TrainingInterrupted(f"{where}; to go on:\n  {command.to_resume()}") from None
        except KeyboardInterrupt:
            if command.checkpoint.is_file():
                raise KeyboardInterrupt(f"stopped; to go on:\n  {command.to_resume()}") from None
            raise KeyboardInterrupt("stopped; nothing was saved") from None


def next_commands(command: TrainCommand) -> list[str]:
    """What a person can do with the model."""
    model, program = shlex.quote(command.out), shlex.quote(called())
    return [
        f"echo 'a text of your own' | {program} predict {model} -",
        f"{program} predict {model} NEW.csv -o predictions.csv",
        f"{program} evaluate {model} LABELLED.csv",
    ]
