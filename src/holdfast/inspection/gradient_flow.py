"""The gradient of the loss at every step of every layer, as back-propagation through time sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.axes import label_steps, tidy
from holdfast.inspection.canvas import SERIES, new_figure
from holdfast.inspection.objective import Objective, answer, cross_entropy
from holdfast.inspection.places import Place, places
from holdfast.inspection.subject import Reading, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = NDArray[np.float64]
LEAST_RANGE = 0.05
"""Down to where a panel goes at least, of the largest: less than a decade of a logarithm is hard to read."""


@dataclass(frozen=True)
class GradientFlow:
    """The norm of the gradient of the loss of one row at each step.

    Attributes:
        name: the row's.
        steps: T labels of the steps.
        loss: its loss.
        norms: by place (`"layer 1"`, `"layer 1, from the end"`), then by what the gradient is taken to: each
            gate's pre-activation by the gate's name, and the states `h` and `c` over all their later uses;
            the norm over the units, `[T]`, in time order.
    """

    name: str
    steps: tuple[str, ...]
    loss: float
    norms: Mapping[str, Mapping[str, Curve]]

    @property
    def sentences(self) -> list[str]:
        """The finding in words, by layer and direction: where the gradient is large, where small."""
        told = []
        for place in self.norms:
            curve = self.carried(place)
            high, low = int(curve.argmax()), int(curve.argmin())
            ratio = curve[low] / curve[high] if curve[high] > 0 else 1.0
            told.append(
                f"{place}: the gradient is largest at “{self.steps[high]}” (step {high + 1}) and "
                f"{ratio:.1g} of that at “{self.steps[low]}” (step {low + 1})"
            )
        return told

    def carried(self, place: str) -> Curve:
        """The norms of the state that carries the past: of c where the cell has it, else of h."""
        return self.norms[place]["c" if "c" in self.norms[place] else "h"]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        return {
            "name": self.name,
            "steps": list(self.steps),
            "loss": self.loss,
            "norms": {
                place: {name: curve.tolist() for name, curve in curves.items()}
                for place, curves in self.norms.items()
            },
        }

    def figure(self, beside: Mapping[str, GradientFlow] | None = None, name: str = "this network") -> Figure:
        """The norms over the steps on a logarithmic scale, one panel per layer and direction.

        Each network's curves are divided by the largest of them: what one sees is how the gradient fades or
        grows on its way, and not how wrong the network is about the row.

        Args:
            beside: other networks' flow of the same row, by name.
            name: what to call this one.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        networks = {name: self, **(beside or {})}
        figure = new_figure(8.5, 1.7 * len(self.norms) + 0.6)
        panels = figure.subplots(len(self.norms), 1, squeeze=False, sharex=True)[:, 0]
        for axes, place in zip(panels, self.norms, strict=True):
            for index, (label, flow) in enumerate(networks.items()):
                curve = flow.carried(place) / max(flow.largest, np.finfo(np.float64).tiny)
                axes.plot(
                    np.where(curve > 0, curve, np.nan),
                    color=SERIES[index % len(SERIES)],
                    linewidth=1.2 if index else 2.4,
                    label=label,
                )
            axes.set_yscale("log")
            axes.set_ylim(bottom=min(axes.get_ylim()[0], LEAST_RANGE))
            tidy(axes, title=f"{place}: size of the gradient at each step")
        label_steps(panels[-1], self.steps)
        panels[0].legend(frameon=False, fontsize=8)
        return figure

    @property
    def largest(self) -> float:
        """The largest norm at a carried state."""
        return float(max(self.carried(place).max() for place in self.norms))


def gradient_flow(
    subject: Subject,
    reading: Reading,
    target: str | int | None = None,
    *,
    objective: Objective | None = None,
) -> GradientFlow:
    """Send one row's loss back through the network and look at what arrives at each step.

    Args:
        subject: the network.
        reading: the row.
        target: the right output, by name or index; None: the reading's own target where it is one of the
            outputs, else what the network says.
        objective: another scalar to send back than the cross entropy of `target`; with a single output that
            is the score itself.

    Raises:
        InputError: no such output.
    """
    known = reading.target if reading.target in subject.outputs else None
    wanted = target if target is not None else known
    number = objective or cross_entropy(answer(subject, reading, wanted))
    scores, traces = subject.run(reading.x.detach().requires_grad_(), trace="gradients")
    loss = number(scores).sum()
    if not loss.requires_grad:
        raise InputError(f"{reading.name}: the loss does not depend on the row, so it has no gradient")
    loss.backward()
    gradients = [trace.gradients for trace in traces]
    return GradientFlow(
        reading.name,
        reading.steps,
        float(loss.detach()),
        {place.label: _norms(place, gradients) for place in places(subject)},
    )


def _norms(place: Place, gradients: Any) -> dict[str, Curve]:
    names = gradients[place.module]
    return {name: place.of(gradients, name)[:, 0].double().norm(dim=1).numpy(force=True) for name in names}
