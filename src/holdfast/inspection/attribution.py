"""Which inputs made the network say what it says: integrated gradients, and occlusion to check them.

Integrated gradients (Sundararajan, Taly & Yan 2017) follow the straight line from a baseline input to the row
and add up what each input contributes on the way; all contributions together are the difference that the row
makes (completeness), up to an error that is given. Occlusion replaces one input by the baseline's and looks
at the change. On a network that is linear in its input both are exact and equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import InputError
from holdfast.inspection.axes import MOST_LABELS, label_steps, tidy, zero_line
from holdfast.inspection.canvas import GREEN, VALID, new_figure
from holdfast.inspection.objective import Objective, answer, log_odds
from holdfast.inspection.subject import Reading, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = NDArray[np.float64]
FIRST_POINTS, MOST_POINTS = 16, 256
ERROR = 0.01
"""Of the sum of all contributions' sizes: a hundredth is below what a reader of the picture can tell."""
MOST_NUMBERS = 1 << 22
"""Numbers of the input in one pass, `T * B * I`: 16 MiB of float32."""


@dataclass(frozen=True)
class Attribution:
    """What each step of one row contributes to one output.

    Attributes:
        name: the row's.
        steps: T labels of the steps.
        output: the output that is explained.
        value: the number that is explained: of the row, the log odds of the output if no other was asked for.
        baseline_value: the same of the baseline.
        integrated: contributions by integrated gradients, `[T]`; they add up to value - baseline_value.
        occluded: by how much the number falls when a step alone is replaced by the baseline's, `[T]`.
        points: at how many points of the line gradients were taken.
    """

    name: str
    steps: tuple[str, ...]
    output: str
    value: float
    baseline_value: float
    integrated: Values
    occluded: Values
    points: int

    @property
    def completeness_error(self) -> float:
        """How far the contributions are from adding up, as a share of the sum of their sizes."""
        gap = abs(self.integrated.sum() - (self.value - self.baseline_value))
        scale = np.abs(self.integrated).sum()
        return float(gap / scale) if scale > 0 else float(gap)

    @property
    def agreement(self) -> float | None:
        """The correlation of the two ways over the steps; None where one of them does not vary."""
        if len(self.steps) < 2 or not self.integrated.std() > 0 or not self.occluded.std() > 0:
            return None
        return float(np.corrcoef(self.integrated, self.occluded)[0, 1])

    def strongest(self, most: int = 3) -> list[int]:
        """The steps with the largest contributions by size, the largest first."""
        return [int(step) for step in np.argsort(-np.abs(self.integrated), kind="stable")[:most]]

    @property
    def sentence(self) -> str:
        """The finding in words: what speaks most for the output, and what against it."""
        best, worst = int(self.integrated.argmax()), int(self.integrated.argmin())
        told = [
            f"“{self.steps[step]}” (step {step + 1}) speaks most {side} {self.output} "
            f"({self.integrated[step]:+.2f})"
            for step, side in ((best, "for"), (worst, "against"))
            if (self.integrated[step] > 0) == (side == "for") and self.integrated[step]
        ]
        return f"{self.name}: {', '.join(told) or 'no step speaks for or against ' + self.output}"

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return {
            "name": self.name,
            "steps": list(self.steps),
            "output": self.output,
            "value": self.value,
            "baseline_value": self.baseline_value,
            "integrated_gradients": self.integrated.tolist(),
            "occlusion": self.occluded.tolist(),
            "points": self.points,
            "completeness_error": self.completeness_error,
            "agreement": self.agreement,
        }

    def figure(self) -> Figure:
        """The contributions of the steps as bars, with what occlusion says as dots.

        A row of more than 60 steps is drawn around its strongest step, and the title says so.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        first, last = _window(len(self.steps), self.strongest(1)[0])
        figure = new_figure(max(4.0, min(12.0, 0.34 * (last - first) + 1.2)), 3.0)
        axes = figure.subplots()
        shown = self.integrated[first:last]
        at = np.arange(len(shown))
        axes.bar(at, shown, color=[GREEN if value >= 0 else VALID for value in shown])
        axes.plot(at, self.occluded[first:last], "o", color="black", markersize=4, label="occlusion")
        zero_line(axes)
        cut = f"; steps {first + 1} to {last} of {len(self.steps)}" if last - first < len(self.steps) else ""
        tidy(
            axes,
            up=f"for {self.output} (up), against it (down)",
            title=f"{self.name}: what each step contributes{cut}",
        )
        label_steps(axes, self.steps[first:last])
        axes.legend(frameon=False, fontsize=8)
        return figure


def attribution(
    subject: Subject,
    reading: Reading,
    output: str | int | None = None,
    *,
    baseline: Tensor | None = None,
    objective: Objective | None = None,
) -> Attribution:
    """Explain what a network says of one row by its steps.

    Args:
        subject: the network.
        reading: the row.
        output: the output to explain, by name or index; None: the one with the highest score.
        baseline: what stands for "nothing" at a step, `[I]`, or at each step, `[T, I]`: the mean input of
            many readings (`perturbation.mean_input`) keeps the network where it was trained; None: zeros.
        objective: the number to explain, as `objective.score(k)`; None: the log odds of the output against
            all others (its score where there is only one).

    Raises:
        InputError: no such output; a baseline of another shape.
    """
    index = answer(subject, reading, output)
    number = objective or log_odds(index)
    start = _baseline(reading, baseline)
    with torch.no_grad():
        ends = number(subject.run(torch.stack([reading.x[:, 0], start], 1)).scores).double()
    value, baseline_value = ends.tolist()
    integrated, points = _until_complete(subject, reading, start, number, value - baseline_value)
    return Attribution(
        reading.name,
        reading.steps,
        subject.outputs[index],
        value,
        baseline_value,
        integrated,
        value - occlusion(subject, reading, start, number),
        points,
    )


def integrated_gradients(
    subject: Subject, reading: Reading, baseline: Tensor, objective: Objective, points: int
) -> Values:
    """Contributions of the steps, `[T]`: (x - baseline) times the mean gradient on the line between them.

    Args:
        subject: the network.
        reading: the row.
        baseline: where the line begins, `[T, I]`.
        objective: the number to explain.
        points: of the Gauss-Legendre rule, which is exact for polynomials of degree 2 * points - 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    x, total = (
        reading.x[:, 0],
        torch.zeros(reading.x[:, 0].shape, dtype=torch.float64, device=reading.x.device),
    )
    most = max(1, MOST_NUMBERS // x.numel())
    for own, weight in zip(_tensor(nodes, x).split(most), _tensor(weights, x).split(most), strict=True):
        share = ((own + 1) / 2)[None, :, None]
        line = (baseline[:, None] + share * (x - baseline)[:, None]).requires_grad_()
        (objective(subject.run(line).scores) * weight / 2).sum().backward()
        assert line.grad is not None
        total += line.grad.double().sum(1)
    contributions: Values = (total * (x - baseline)).sum(1).numpy(force=True)
    return contributions


@torch.no_grad()
def occlusion(subject: Subject, reading: Reading, baseline: Tensor, objective: Objective) -> Values:
    """The number of the row with each step in turn replaced by that of `baseline` `[T, I]`, `[T]`."""
    x, found = reading.x[:, 0], []
    for chosen in torch.eye(len(x), device=x.device).bool().split(max(1, MOST_NUMBERS // x.numel())):
        batch = torch.where(chosen.T[:, :, None], baseline[:, None], x[:, None])
        found.append(objective(subject.run(batch).scores).double())
    numbers: Values = torch.cat(found).numpy(force=True)
    return numbers


def _until_complete(
    subject: Subject, reading: Reading, start: Tensor, number: Objective, difference: float
) -> tuple[Values, int]:
    """Integrated gradients with twice as many points until they add up, or the most points are reached."""
    points = FIRST_POINTS
    while True:
        found = integrated_gradients(subject, reading, start, number, points)
        if abs(found.sum() - difference) <= ERROR * np.abs(found).sum() or points >= MOST_POINTS:
            return found, points
        points *= 2


def _tensor(values: Values, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like)


def _baseline(reading: Reading, given: Tensor | None) -> Tensor:
    """The baseline as `[T, I]`."""
    shape = (len(reading.x), reading.x.shape[2])
    if given is None:
        return torch.zeros(shape, dtype=reading.x.dtype, device=reading.x.device)
    if given.shape not in (shape, shape[1:]):
        raise InputError(
            f"{reading.name}: the baseline must be [I] = {[shape[1]]} or [T, I] = {list(shape)}; it is "
            f"{list(given.shape)}"
        )
    return given.detach().to(reading.x).expand(shape)


def _window(steps: int, middle: int) -> tuple[int, int]:
    """The steps to draw, at most 60, around one of them."""
    first = max(0, min(middle - MOST_LABELS // 2, steps - MOST_LABELS))
    return first, min(steps, first + MOST_LABELS)
