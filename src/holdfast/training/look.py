"""One look inside a network that is being trained: gradients over time and gates; it leaves no mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.inspection.places import FORWARD, Place, places_in
from holdfast.inspection.saturation import OPEN, SHUT
from holdfast.inspection.subject import traced_calls
from holdfast.nn.equations import value_bounds
from holdfast.nn.lstm import LSTM
from holdfast.nn.trace import Trace

Rows = NDArray[np.int64]
Array = NDArray[np.float64]
GATE = (0.0, 1.0)
CARRIED = ("c", "h")
"""The state that carries the past: the first of these that the cell has."""


@dataclass(frozen=True)
class Look:
    """What one layer and direction did on some rows, and what the gradient of the loss did there.

    Attributes:
        place: which layer and direction.
        norms: of the gradient of the loss to the state that carries the past (c where the cell has it, else
            h): its norm over the units, the root mean square over the steps whose lag, counted back from the
            last step that this direction reads, is 0, 1, 2 to 3, 4 to 7, 8 to 15, ..., `[bins]`.
        steps: how many steps are in each bin, `[bins]`.
        shut: by gate the share of its values below 0.1.
        open: by gate the share of its values above 0.9.
    """

    place: Place
    norms: Array
    steps: NDArray[np.int64]
    shut: Mapping[str, float]
    open: Mapping[str, float]

    @property
    def label(self) -> str:
        """What to call the layer and direction."""
        return self.place.label

    @property
    def lags(self) -> list[int]:
        """The smallest lag of each bin: 0, 1, 2, 4, 8, ..."""
        return [0, *(1 << k for k in range(len(self.norms) - 1))]


def look(network: nn.Module, loss: Callable[[Rows], Tensor], rows: Rows) -> list[Look]:
    """Send the loss of some rows back through the network and read every `holdfast.LSTM` in it.

    The network, its gradients, its buffers and torch's random generators are afterwards as they were before;
    a compiled network runs without its compiled code. A loss that itself counts its calls sees one more.

    Args:
        network: in whatever mode it is; a network that is being trained drops what it drops.
        loss: the mean loss of a batch.
        rows: the batch, a few rows are enough.

    Returns:
        One look for each layer and direction that was called; none where nothing of the loss reached it.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, LSTM)}
    with _unchanged(network), traced_calls(layers, "gradients") as kept:
        value = loss(rows)
        if value.requires_grad:
            value.backward()
    if not value.requires_grad:
        return []
    modules = list(layers.values())
    calls = list(kept.values())
    return [
        _look(place, modules[place.module], calls[place.module])
        for place in places_in(modules)
        if calls[place.module]
    ]


def _look(place: Place, layer: LSTM, calls: Sequence[Trace]) -> Look:
    """One place over all calls of its layer, such as the windows of a long sequence."""
    gates = [name for name, bounds in value_bounds(layer).items() if bounds == GATE]
    squares, counts = np.zeros(0), np.zeros(0, np.int64)
    values: dict[str, list[Array]] = {gate: [] for gate in gates}
    for call in calls:
        here = {name: value[place.layer, place.direction].detach() for name, value in call.items()}
        gradients = call.gradients
        carried = next(name for name in CARRIED if name in gradients)
        gradient = gradients[carried][place.layer, place.direction]
        valid = torch.stack([(value != 0).any(-1) for value in here.values()]).any(0)
        bins = _bins(valid, place)
        square = gradient[valid].double().square().sum(1).numpy(force=True)
        squares = _added(squares, np.bincount(bins, square))
        counts = _added(counts, np.bincount(bins))
        for gate in gates:
            values[gate].append(here[gate][valid].numpy(force=True))
    flat = {gate: np.concatenate(parts) for gate, parts in values.items()}
    return Look(
        place,
        np.sqrt(squares / np.maximum(counts, 1)),
        counts,
        {gate: float((value < SHUT).mean()) for gate, value in flat.items()},
        {gate: float((value > OPEN).mean()) for gate, value in flat.items()},
    )


def _bins(valid: Tensor, place: Place) -> NDArray[np.int64]:
    """The bin of the lag of each valid step of `valid` `[T, B]`, row after row of T."""
    steps = torch.arange(len(valid), device=valid.device)[:, None]
    lags = valid.sum(0) - 1 - steps if place.direction == FORWARD else steps.expand_as(valid)
    exponents: NDArray[np.int64] = np.frexp(lags[valid].numpy(force=True))[1].astype(np.int64)
    return exponents  # 0, 1, 2 to 3, 4 to 7, ... have the exponents 0, 1, 2, 3, ...


def _added(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """The sum of two rows of numbers of which one may be shorter."""
    longest = max(len(one), len(other))
    total: NDArray[Any] = np.pad(one, (0, longest - len(one))) + np.pad(other, (0, longest - len(other)))
    return total


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """What happens within the block leaves no mark on the network or on torch's random generators."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    devices = sorted({part.get_device() for part in network.parameters() if part.is_cuda})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for parameter in learnt:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in learnt:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
