"""What a network would say of a row had it ended after each step: where it turned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.inspection.axes import MOST_LABELS, label_steps, tidy, zero_line
from holdfast.inspection.canvas import GREY, TRAIN, new_figure
from holdfast.inspection.objective import Objective, answer, log_odds
from holdfast.inspection.subject import Reading, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = NDArray[np.float64]
MOST_NUMBERS = 1 << 22
"""Numbers of the input in one pass, `T * B * I`: 16 MiB of float32."""
TURN = 1.0
"""Of log odds: a factor of 2.7 in the odds; less is not called a turn."""


@dataclass(frozen=True)
class Prefixes:
    """The answer after each step.

    Attributes:
        name: the row's.
        steps: T labels of the steps.
        output: the output that is followed.
        before: its number for an input of "nothing": zeros for one step.
        after: its number for the row up to and with each step, `[T]`.
        number: what the number is.
    """

    name: str
    steps: tuple[str, ...]
    output: str
    before: float
    after: Curve
    number: str = "log odds"

    @property
    def changes(self) -> Curve:
        """What each step changed, `[T]`."""
        return np.diff(self.after, prepend=self.before)

    @property
    def turn(self) -> int | None:
        """The step that changed the number most; None where none changed it by 1 or more."""
        step = int(np.abs(self.changes).argmax())
        return step if abs(self.changes[step]) >= TURN else None

    @property
    def sentence(self) -> str:
        """The finding in words: which step changed the answer most, and whether the sign with it."""
        if self.turn is None:
            return (
                f"{self.name}: no step alone changed the {self.number} of {self.output} by {TURN:g} or more"
            )
        before = self.before if self.turn == 0 else self.after[self.turn - 1]
        after = self.after[self.turn]
        did = "turned it" if (before > 0) != (after > 0) else "changed it most"
        return (
            f"{self.name}: “{self.steps[self.turn]}” (step {self.turn + 1}) {did}, {self.number} of "
            f"{self.output} from {before:+.1f} to {after:+.1f}; at the end {self.after[-1]:+.1f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return {
            "name": self.name,
            "steps": list(self.steps),
            "output": self.output,
            "number": self.number,
            "before": self.before,
            "after": self.after.tolist(),
            "turn": self.turn,
        }

    def figure(self) -> Figure:
        """The number after each step, with the turn marked.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure = new_figure(max(4.0, min(12.0, 0.34 * len(self.steps) + 1.2)), 2.8)
        axes = figure.subplots()
        axes.plot(self.after, color=TRAIN, marker="o" if len(self.steps) <= MOST_LABELS else "", markersize=4)
        zero_line(axes)
        if self.turn is not None:
            axes.axvline(self.turn, color=GREY, linestyle=":")
        tidy(axes, up=f"{self.number} of\n{self.output}", title=f"{self.name}: had it ended here")
        label_steps(axes, self.steps)
        return figure


@torch.no_grad()
def prefixes(
    subject: Subject, reading: Reading, output: str | int | None = None, objective: Objective | None = None
) -> Prefixes:
    """Let the network read every beginning of a row. It must take lengths.

    Args:
        subject: the network.
        reading: the row.
        output: the output to follow, by name or index; None: what the network says of the whole row.
        objective: the number to follow; None: the log odds of the output.

    Raises:
        InputError: no such output; a network that takes no lengths.
    """
    index = answer(subject, reading, output)
    number = objective or log_odds(index)
    called = "log odds" if objective is None else "score"
    found = []
    for lengths in torch.arange(1, len(reading.x) + 1).split(max(1, MOST_NUMBERS // reading.x.numel())):
        longest = int(lengths.max())
        batch = reading.x[:longest].expand(-1, len(lengths), -1)
        inside = torch.arange(longest)[:, None] < lengths
        batch = torch.where(inside[:, :, None].to(batch.device), batch, 0.0)
        found.append(number(subject.run(batch, lengths).scores).double())
    nothing = torch.zeros_like(reading.x[:1])
    before = float(number(subject.run(nothing).scores)[0])
    after: Curve = torch.cat(found).numpy(force=True)
    return Prefixes(reading.name, reading.steps, subject.outputs[index], before, after, called)
