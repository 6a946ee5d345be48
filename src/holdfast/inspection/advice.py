"""Advice after training: what a few numbers say may be wrong, and what to try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.inspection.plain import plain

Finding = Literal["saturates", "vanishes", "explodes", "memorises"]

SATURATED = 0.9
"""Share of a gate's values beyond 0.1 or 0.9: where nine of ten are stuck, the gate decides nothing."""
VANISHED = 1e-3
"""The state's gradient far back over its largest: a thousandth moves no weight beside the rest."""
EXPLODED = 100.0
"""The largest gradient norm over the clip norm: 99 % of such a step are cut off."""
CLIPPED = 0.9
"""Share of clipped steps in the last epoch: where nearly all are cut, the clip sets the pace."""
MEMORISED = 2.0
"""Validation loss over training loss at the best epoch; the latter's dropout hides some of the gap."""
LEAST_GAP = 0.05
"""Nats between the two losses; below, both are about as good as right."""
LATER = 3.0
"""The same at the last epoch, to which most runs go on for some time after the best one."""
RISEN = 1.05
"""Validation loss of the last epoch over the best: 5 % are more than the noise of a few hundred rows."""
LONG = 8
"""Steps; a gradient that fades over fewer is no matter of memory."""


class Epoch(Protocol):
    """What is needed of an epoch; `training.history.EpochRow` is one."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def train_loss(self) -> float:
        """Mean over the training rows."""

    @property
    def valid_loss(self) -> float:
        """Mean over the validation rows."""

    @property
    def gradient_norm(self) -> float:
        """The epoch's largest, before clipping."""

    @property
    def clipped_share(self) -> float:
        """Share of the steps whose gradient was scaled down, from 0 to 1."""


class Layer(Protocol):
    """What is needed of a layer and direction; `training.look.Look` is one."""

    @property
    def label(self) -> str:
        """What to call it."""

    @property
    def norms(self) -> NDArray[np.float64]:
        """Of the gradient of the loss to its state, by bins of the lag, `[bins]`."""

    @property
    def lags(self) -> Sequence[int]:
        """The smallest lag of each bin."""

    @property
    def shut(self) -> Mapping[str, float]:
        """By gate the share of its values below 0.1."""

    @property
    def open(self) -> Mapping[str, float]:
        """By gate the share of its values above 0.9."""


@dataclass(frozen=True)
class Advice:
    """One thing to look at.

    Attributes:
        finding: what is the matter.
        number: the number that says so.
        limit: what it was compared with.
        text: one sentence with the number, and one with what to try.
    """

    finding: Finding
    number: float
    limit: float
    text: str

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"finding": self.finding, "number": plain(self.number), "limit": self.limit, "text": self.text}


def advise(history: Sequence[Epoch], layers: Iterable[Layer], clip_norm: float) -> list[Advice]:
    """Everything that the numbers of a training run give reason to say; nothing where all is well.

    Args:
        history: its epochs, in order; none where there was no training.
        layers: a look at each layer and direction after it.
        clip_norm: the norm to which gradients were cut.
    """
    found = [*_of_losses(history), *_of_clipping(history, clip_norm)]
    for layer in layers:
        found += [*_of_gates(layer), *_of_gradients(layer)]
    return found


def _of_losses(history: Sequence[Epoch]) -> list[Advice]:
    if not history:
        return []
    best, last = min(history, key=lambda row: row.valid_loss), history[-1]
    tries = "more dropout or weight decay, fewer hidden units, or more rows"
    gap, ratio = best.valid_loss - best.train_loss, best.valid_loss / max(best.train_loss, 1e-12)
    if ratio >= MEMORISED and gap >= LEAST_GAP:
        text = (
            f"the network memorises: at its best epoch, {best.epoch}, the loss is {best.train_loss:.3g} on "
            f"the rows it learns from and {best.valid_loss:.3g}, {ratio:.1f} times as much, on others. "
            f"Try {tries}"
        )
        return [Advice("memorises", ratio, MEMORISED, text)]
    risen, later = (
        last.valid_loss / max(best.valid_loss, 1e-12),
        last.valid_loss / max(last.train_loss, 1e-12),
    )
    learnt_on = last.train_loss < best.train_loss and last.valid_loss - last.train_loss >= LEAST_GAP
    if learnt_on and (later >= LATER or risen >= RISEN):
        text = (
            f"the network memorises after epoch {best.epoch}: from there to epoch {last.epoch} the loss goes "
            f"from {best.train_loss:.3g} to {last.train_loss:.3g} on the rows it learns from and from "
            f"{best.valid_loss:.3g} to {last.valid_loss:.3g} on others. The weights of epoch {best.epoch} "
            f"are kept; for better ones try {tries}"
        )
        number, limit = (later, LATER) if later >= LATER else (risen, RISEN)
        return [Advice("memorises", number, limit, text)]
    return []


def _of_clipping(history: Sequence[Epoch], clip_norm: float) -> list[Advice]:
    if not history:
        return []
    steepest, last = max(history, key=lambda row: row.gradient_norm), history[-1]
    ratio = steepest.gradient_norm / clip_norm
    if ratio >= EXPLODED:
        text = (
            f"gradients explode: in epoch {steepest.epoch} one had the norm {steepest.gradient_norm:.3g}, "
            f"{ratio:.0f} times the clip norm of {clip_norm:g}. Try a lower training.learning_rate, a longer "
            "training.warmup, or fewer steps through time before the gradient is cut"
        )
        return [Advice("explodes", ratio, EXPLODED, text)]
    if last.clipped_share >= CLIPPED:
        text = (
            f"gradients are nearly always clipped: in {last.clipped_share:.0%} of the steps of the last "
            f"epoch, at a norm of {clip_norm:g}. Try a higher training.clip_norm, with a lower "
            "training.learning_rate where the loss is not steady"
        )
        return [Advice("explodes", last.clipped_share, CLIPPED, text)]
    return []


def _of_gates(layer: Layer) -> list[Advice]:
    found = []
    for gate, share in layer.shut.items():
        if share >= SATURATED:
            text = (
                f"gate {gate} of {layer.label} saturates: {share:.0%} of its values are below 0.1, so nearly "
                "nothing passes. Try a lower learning rate, smaller inputs, or "
                + ("forget_bias=1" if gate == "f" else "less weight decay and another init")
            )
            found.append(Advice("saturates", share, SATURATED, text))
    for gate, share in layer.open.items():
        if share >= SATURATED and gate != "f":  # a forget gate that stays open is what memory needs
            text = (
                f"gate {gate} of {layer.label} saturates: {share:.0%} of its values are above 0.9, so it "
                "lets everything pass and learns slowly. Try a lower learning rate, smaller inputs, or more "
                "weight decay"
            )
            found.append(Advice("saturates", share, SATURATED, text))
    return found


def _of_gradients(layer: Layer) -> list[Advice]:
    largest = layer.norms.max(initial=0.0)
    if largest == 0 or layer.lags[-1] < LONG:
        return []
    ratio = float(layer.norms[-1] / largest)
    if ratio >= VANISHED:
        return []
    text = (
        f"gradients vanish in {layer.label}: {layer.lags[-1]} and more steps back they are {ratio:.1g} of "
        "the largest. If what matters can lie that far back, try forget_bias=1 or init='chrono' with "
        "max_lag, or pool over all steps (mean, max, attention) instead of the last"
    )
    return [Advice("vanishes", ratio, VANISHED, text)]
