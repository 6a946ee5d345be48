"""How the networks of the lab learn: a stream of fresh sequences, each judged before it is learnt."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.lab.experiment import Outcome
from holdfast.nn.lstm import LSTM

TESTED = 2560
TEST_BATCH = 128
TEST_SEED = 10**6
CURVE_POINTS = 100
FORGET = 0.98

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sequences:
    """A batch of fresh sequences.

    Attributes:
        x: `[T, B, I]`, or symbols `[T, B]` (int64).
        lengths: `[B]`.
        targets: what is wanted after the last valid step, `[B, K]`.
        judged_by: the targets without the noise that learning sees; None where they have none.
    """

    x: Tensor
    lengths: Tensor
    targets: Tensor
    judged_by: Tensor | None = None

    @property
    def truth(self) -> Tensor:
        """What outputs are judged by, `[B, K]`."""
        return self.targets if self.judged_by is None else self.judged_by


Draw = Callable[[np.random.Generator, int], Sequences]


@dataclass(frozen=True)
class Learning:
    """How a network learns.

    Attributes:
        batch: sequences per update.
        rate: the learning rate of Adam (Kingma & Ba 2015).
        falls_below: the mean recent error below which the rate falls in proportion to it; 0: never.
        clip: the norm that gradients are clipped to (Pascanu et al. 2013).
        betas: of Adam.
    """

    batch: int = 16
    rate: float = 0.01
    falls_below: float = 0.0
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)

    def rate_at(self, error: float) -> float:
        """The learning rate where the mean recent error is `error`."""
        return self.rate * min(1.0, error / self.falls_below) if self.falls_below else self.rate


class Criterion(Protocol):
    """When a run is solved."""

    def see(self, errors: Tensor) -> None:
        """The errors `[B]` of a batch before it was learnt: the largest of each sequence's outputs."""

    def met(self) -> bool:
        """Whether the run may end."""

    @property
    def error(self) -> float:
        """What the curve shows."""


class LastRight:
    """The criterion of Hochreiter & Schmidhuber 1997: the last sequences right, and small errors on average.

    Args:
        bound: an error below it is right.
        count: how many sequences in a row must be right.
        mean: what their mean error must be below.
    """

    def __init__(self, bound: float, count: int = 2000, mean: float = 1.0) -> None:
        self.bound, self.count, self.mean = bound, count, mean
        self.errors: deque[float] = deque(maxlen=count)
        self.right_in_a_row = 0

    def see(self, errors: Tensor) -> None:
        for error in errors.tolist():
            self.errors.append(error)
            self.right_in_a_row = self.right_in_a_row + 1 if error < self.bound else 0

    def met(self) -> bool:
        return self.right_in_a_row >= self.count and self.error < self.mean

    @property
    def error(self) -> float:
        """The mean of the last `count` errors."""
        return float(np.mean(self.errors)) if self.errors else float("nan")


class Reader(nn.Module):
    """Reads a sequence and answers after its last step.

    Args:
        layer: a layer of ours, unidirectional.
        outputs: K.
        squash: what the outputs go through.
    """

    def __init__(self, layer: LSTM, outputs: int, squash: Callable[[Tensor], Tensor] = torch.sigmoid) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size, outputs)
        self.squash = squash

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The outputs `[B, K]` after the last valid step of `x`."""
        _, state = self.layer(x, lengths=lengths)
        return self.squash(cast(Tensor, self.head(state[0][-1])))


class RecentMean:
    """A mean that forgets: each batch counts for a fiftieth."""

    def __init__(self) -> None:
        self.value = float("nan")

    def see(self, value: float) -> float:
        """The mean with `value` in it."""
        self.value = value if np.isnan(self.value) else FORGET * self.value + (1 - FORGET) * value
        return self.value


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error of a sequence, averaged over the batch."""
    return 0.5 * (outputs - targets).square().sum(1).mean()


def squared_and_fourth(outputs: Tensor, targets: Tensor) -> Tensor:
    """`squared` and 20 times the fourth power: it minds the rare large errors that must be none."""
    errors = outputs - targets
    return (0.5 * errors.square() + 20 * errors.pow(4)).sum(1).mean()


def identity(outputs: Tensor) -> Tensor:
    """Outputs as they are."""
    return outputs


def largest_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The largest absolute error of each sequence's outputs, `[B]`."""
    return (outputs - targets).abs().amax(1)


def learn_and_test(
    network: Reader,
    draw: Draw,
    criterion: Criterion,
    learning: Learning,
    *,
    budget: int,
    seed: int,
    bound: float,
    loss: Loss = squared,
) -> Outcome:
    """Learn fresh sequences until the criterion is met or the budget is spent, then test on 2560 others.

    Args:
        network: learns in place.
        draw: gives fresh sequences.
        criterion: sees the errors of each batch before it is learnt.
        learning: batch, rate, clipping.
        budget: most sequences to learn.
        seed: of the training sequences; test sequences come from a stream of their own.
        bound: an error of the test below it is right.
        loss: what is minimised: outputs and targets to a scalar.

    Returns:
        The outcome: sequences consumed, wrong ones of 2560, their mean squared error, and the curve.
    """
    started = time.perf_counter()
    consumed, curve = learn(network, draw, criterion, learning, budget=budget, seed=seed, loss=loss)
    errors, squares = test_errors(network, draw, seed)
    wrong = int((errors >= bound).sum())
    return Outcome(
        solved=criterion.met(),
        sequences=consumed,
        score=f"{wrong} of {TESTED} wrong",
        numbers={"wrong": wrong, "tested": TESTED, "mean_squared_error": squares},
        curve=thinned(curve),
        weights=sum(p.numel() for p in network.parameters()),
        seconds=time.perf_counter() - started,
    )


def learn(
    network: Reader,
    draw: Draw,
    criterion: Criterion,
    learning: Learning,
    *,
    budget: int,
    seed: int,
    loss: Loss = squared,
) -> tuple[int, list[tuple[float, float]]]:
    """The loop of `learn_and_test`: sequences consumed, and the curve of the criterion's error."""
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(network.parameters(), learning.rate, betas=learning.betas, fused=True)
    consumed, curve, recent = 0, [], RecentMean()
    while consumed < budget and not criterion.met():
        sequences = draw(generator, learning.batch)
        outputs = network(sequences.x, sequences.lengths)
        errors = largest_error(outputs.detach(), sequences.truth)
        criterion.see(errors)
        for group in optimiser.param_groups:
            group["lr"] = learning.rate_at(recent.see(float(errors.mean())))
        optimiser.zero_grad()
        loss(outputs, sequences.targets).backward()
        nn.utils.clip_grad_norm_(network.parameters(), learning.clip)
        optimiser.step()
        consumed += learning.batch
        curve.append((float(consumed), criterion.error))
    return consumed, curve


@torch.no_grad()
def test_errors(network: Reader, draw: Draw, seed: int) -> tuple[Tensor, float]:
    """The largest errors `[2560]` on fresh sequences, and their mean squared error."""
    generator = np.random.default_rng(TEST_SEED + seed)
    errors, squares = [], 0.0
    for _ in range(TESTED // TEST_BATCH):
        sequences = draw(generator, TEST_BATCH)
        outputs = network(sequences.x, sequences.lengths)
        errors.append(largest_error(outputs, sequences.truth))
        squares += float((outputs - sequences.truth).square().sum(1).mean())
    return torch.cat(errors), squares / (TESTED // TEST_BATCH)


def thinned(curve: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most about 200 points of a curve, evenly spaced, the last one always among them."""
    every = max(1, len(curve) // CURVE_POINTS)
    return tuple(curve[every - 1 : -1 : every]) + tuple(curve[-1:])
