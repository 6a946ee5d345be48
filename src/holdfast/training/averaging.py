"""The moving average of the weights: a better model for free, from the same training run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EARLY_HORIZON = 10.0


class WeightAverage:
    """An exponential moving average of a network's parameters, taken after every step.

    Polyak & Juditsky 1992 in the exponential form; the horizon grows with the number of steps taken, so that
    the first average is not tied to the random start.

    Args:
        network: the network whose parameters are followed.
        horizon: steps over which the weight of a past value falls to 1/e; 0 keeps no history.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        self.horizon = horizon
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the network's present parameters into the average."""
        self.steps += 1
        horizon = min(self.horizon, self.steps / EARLY_HORIZON)
        new = 1.0 - math.exp(-1.0 / horizon) if horizon > 0 else 1.0
        for name, value in network.named_parameters():
            self.values[name].lerp_(value.detach(), new)

    @contextmanager
    def swapped_into(self, network: nn.Module) -> Iterator[None]:
        """Within the block the network holds the average; after it, its own parameters again."""
        own = {name: value.detach().clone() for name, value in network.named_parameters()}
        _assign(network, self.values)
        try:
            yield
        finally:
            _assign(network, own)


@torch.no_grad()
def _assign(network: nn.Module, values: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(values[name])
