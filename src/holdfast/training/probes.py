"""Probes: every so many steps of training, a look inside the network, written down step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from holdfast.errors import ConfigError
from holdfast.inspection.places import FORWARD
from holdfast.training.look import Look, Rows, look


@dataclass(frozen=True)
class ProbeRow:
    """One number of one probe.

    Attributes:
        epoch: counted from 1.
        step: of that epoch, counted from 1.
        measure: `loss` and `gradient_norm` of the step's batch before clipping, `clipped_share` of the
            epoch's steps so far; of a layer `state_gradient_norm`, of a gate `shut` and `open`: see
            `look.Look`.
        layer: counted from 1; 0 for what is of the whole network.
        direction: `forward`, `reverse`, or nothing.
        gate: the name of the gate, or nothing.
        lag: the smallest lag of the bin of a `state_gradient_norm`: 0, 1, 2, 4, 8, ...; else None.
        value: the number.
    """

    epoch: int
    step: int
    measure: str
    value: float
    layer: int = 0
    direction: str = ""
    gate: str = ""
    lag: int | None = None


class Sink(Protocol):
    """Where rows of probes go."""

    def begin(self, epoch: int, step: int, steps: int) -> None:
        """Training begins, or goes on after this step: what was written of later ones is void.

        Args:
            epoch: counted from 1.
            step: the last one that was done of this epoch; 0: none.
            steps: how many were done in all epochs.
        """

    def write(self, rows: Sequence[ProbeRow], step: int) -> None:
        """Rows of one probe; `step` counts over all epochs."""

    def close(self) -> None:
        """Training ends or is stopped."""


class Probe:
    """Looks inside the network every `every` steps and tells a sink.

    A look reads a few rows of the step's batch once more, after the step, forward and back. It changes no bit
    of the training: see `look.look`.

    Args:
        sink: where the numbers go.
        every: steps from one look to the next.
        rows: how many rows of the batch are read.

    Raises:
        ConfigError: a number below 1.
    """

    def __init__(self, sink: Sink, *, every: int = 100, rows: int = 8) -> None:
        for name, value in (("every", every), ("rows", rows)):
            if value < 1:
                raise ConfigError(f"{name} of a probe is {value}; it must be 1 or more")
        self.sink = sink
        self.every = every
        self.rows = rows

    def due(self, step: int) -> bool:
        """Whether to look after this step, counted from 1 over all epochs."""
        return step % self.every == 0

    def take(
        self,
        network: nn.Module,
        loss: Callable[[Rows], Tensor],
        rows: Rows,
        own: Sequence[ProbeRow],
        step: int,
    ) -> None:
        """Look, and write down what was seen behind the training's own numbers of that step."""
        first = own[0]
        found = look(network, loss, rows[: self.rows])
        self.sink.write([*own, *(row for one in found for row in _rows(one, first.epoch, first.step))], step)


def _rows(found: Look, epoch: int, step: int) -> list[ProbeRow]:
    layer, direction = found.place.number, "forward" if found.place.direction == FORWARD else "reverse"
    norms = [
        ProbeRow(epoch, step, "state_gradient_norm", float(norm), layer, direction, lag=lag)
        for lag, norm in zip(found.lags, found.norms, strict=True)
    ]
    shares = [
        ProbeRow(epoch, step, measure, share, layer, direction, gate)
        for measure, of_gates in (("shut", found.shut), ("open", found.open))
        for gate, share in of_gates.items()
    ]
    return norms + shares
