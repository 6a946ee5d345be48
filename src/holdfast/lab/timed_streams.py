"""Streams of timed targets, learnt until the first error in each, by many small networks at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.lab.experiment import Outcome
from holdfast.lab.learning import TEST_SEED, thinned
from holdfast.lab.single_cells import BIASES, SingleCells

IN_A_ROW, TESTED = 100, 1000
"""Targets in a row that end the learning, and those of the test (Gers et al. 2002, section 3)."""

CLIP = 1.0
BETAS = (0.8, 0.99)
BEYOND = 2
"""A stream is drawn this many targets longer than the best network has got so far."""


@dataclass(frozen=True)
class Streams:
    """B streams for each of N networks.

    Attributes:
        x: `[T, B, N]`.
        wanted: what the outputs should be, `[T, B, N]`.
        weights: how much an error at a step counts in learning, `[T, B, N]`; where it is 0, none is judged.
        ends: true where a target is complete: a spike or a period, `[T, B, N]`.
    """

    x: Tensor
    wanted: Tensor
    weights: Tensor
    ends: Tensor


Draw = Callable[[np.random.Generator, tuple[int, int], int], Streams]
"""Gives streams for a generator, (B, N), and a number of targets in each."""


@dataclass(frozen=True)
class Task:
    """What is to be timed, and how it is learnt.

    Attributes:
        draw: gives fresh streams.
        bound: an error below it is right.
        squash: what an output goes through: `torch.sigmoid`, or none where outputs are any numbers.
        longest: targets in a training stream: 100, or 1 where each target is a sequence of its own.
        streams: B, the streams that a network reads before it changes.
        rate: the learning rate of Adam.
        beyond: how much the steps after the first error of a stream count in learning; those up to it: 1.
        slower_after: a network that gets so many targets right before its first error changes half as fast,
            with twice as many a third as fast.
        biases: what those of the gates start around.
        truncated: whether gradients stop at the h that re-enters the gates, see `SingleCells`.
        networks: N, how many learn side by side.
    """

    draw: Draw
    bound: float
    squash: Callable[[Tensor], Tensor] | None = torch.sigmoid
    longest: int = IN_A_ROW
    streams: int = 1
    rate: float = 0.04
    beyond: float = 0.0
    slower_after: float = 0.5
    biases: Mapping[str, float] = field(default_factory=lambda: BIASES)
    truncated: bool = False
    networks: int = 10


@dataclass(frozen=True)
class Judged:
    """How streams went.

    Attributes:
        learnt: the steps up to and with the first error, `[T, B, N]`.
        right: targets before the first error, `[B, N]`.
        flawless: whether there was no error, `[B, N]`.
    """

    learnt: Tensor
    right: Tensor
    flawless: Tensor


def judge(outputs: Tensor, streams: Streams, bound: float) -> Judged:
    """Where the first error of each stream is."""
    wrong = ((outputs - streams.wanted).abs() >= bound) & (streams.weights > 0)
    errors = wrong.long().cumsum(0)
    return Judged(errors - wrong.long() == 0, (streams.ends & (errors == 0)).sum(0), errors[-1] == 0)


def loss_of(logits: Tensor, streams: Streams, learnt: Tensor, task: Task) -> Tensor:
    """What each network minimises, `[N]`: cross entropy for outputs of 0 and 1, else half the squares."""
    weights = streams.weights * torch.where(learnt, 1.0, task.beyond)
    if task.squash is torch.sigmoid:
        losses = nn.functional.binary_cross_entropy_with_logits(logits, streams.wanted, reduction="none")
    else:
        losses = 0.5 * (logits - streams.wanted).square()
    return (losses * weights).sum((0, 1))


@dataclass
class Learner:
    """Networks that learn one task; each stops when it has solved it.

    Attributes:
        networks: learn in place.
        task: what they learn.
        generator: of the training streams.
        consumed: training streams of each network so far.
        solved_after: how many streams each network needed, `[N]`; 0 where it has not solved the task.
        curve: `(streams, networks that have not solved it)`.
    """

    networks: SingleCells
    task: Task
    generator: np.random.Generator
    consumed: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.networks.head.shape[1]
        self.solved_after = torch.zeros(count, dtype=torch.int64)
        self.best = {name: value.clone() for name, value in self.networks.state_dict().items()}
        self._in_a_row = torch.zeros(count, dtype=torch.int64)
        self._targets = min(self.task.longest, BEYOND)
        self._optimiser = torch.optim.Adam(
            list(self.networks.learnt()), self.task.rate, betas=BETAS, fused=True
        )

    def learn(self, budget: int) -> None:
        """Learn until every network has solved the task, or has consumed so many streams."""
        while self.consumed < budget and not self.solved_after.all():
            self.update()
        self.networks.load_state_dict(self.best)

    def update(self) -> None:
        """Read fresh streams, judge them, learn each up to its first error."""
        count = self.networks.head.shape[1]
        streams = self.task.draw(self.generator, (self.task.streams, count), self._targets)
        logits = self.networks(streams.x)
        judged = judge(squashed(logits.detach(), self.task.squash), streams, self.task.bound)
        self.consumed += self.task.streams
        self._note(judged)
        open_still = self.solved_after == 0
        self._optimiser.zero_grad()
        loss = loss_of(logits, streams, judged.learnt, self.task)
        torch.where(open_still & loss.isfinite(), loss, 0).sum().backward()
        self.networks.clip(CLIP)
        self._step(1 / (1 + judged.right.min(0).values / self.task.slower_after))
        self.curve.append((float(self.consumed), float(open_still.sum())))
        if open_still.any():
            longest = int(judged.right[:, open_still].max())
            self._targets = min(self.task.longest, longest + BEYOND)

    @torch.no_grad()
    def _step(self, share: Tensor) -> None:
        """Change each network by a share `[N]` of what the optimiser would."""
        before = [values.clone() for values in self.networks.learnt()]
        self._optimiser.step()
        for values, old in zip(self.networks.learnt(), before, strict=True):
            values.copy_(old.lerp(values, share))

    def _note(self, judged: Judged) -> None:
        """Count targets in a row, and keep the networks that have just solved the task as they are."""
        if self._targets < self.task.longest:
            return
        for flawless in judged.flawless:
            self._in_a_row = torch.where(flawless, self._in_a_row + self.task.longest, 0)
        solved = (self._in_a_row >= IN_A_ROW) & (self.solved_after == 0)
        if solved.any():
            self.solved_after[solved] = self.consumed
            for name, value in self.networks.state_dict().items():
                if value.shape[-1:] == solved.shape:
                    self.best[name][..., solved] = value[..., solved]


def squashed(logits: Tensor, squash: Callable[[Tensor], Tensor] | None) -> Tensor:
    """The outputs of a network."""
    return logits if squash is None else squash(logits)


@torch.no_grad()
def targets_before_error(networks: SingleCells, task: Task, generator: np.random.Generator) -> Tensor:
    """How many of 1000 fresh targets each network gets right before its first error, `[N]`."""
    count = networks.head.shape[1]
    apart = task.longest == 1
    streams = task.draw(generator, (TESTED if apart else 1, count), 1 if apart else TESTED)
    judged = judge(squashed(networks(streams.x), task.squash), streams, task.bound)
    return judged.flawless.long().cumprod(0).sum(0) if apart else judged.right[0]


def learn_and_test(cell: str, task: Task, *, budget: int, seed: int) -> Outcome:
    """Several networks learn; those that have solved the task are tested on 1000 fresh targets.

    Args:
        cell: of the networks.
        task: what they learn.
        budget: most training streams of each.
        seed: of first values and streams.

    Returns:
        The outcome, solved where at least one of the networks met the criterion; what it consumed is the
        median over those that did.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    networks = SingleCells(cell, task.networks, biases=task.biases, truncated=task.truncated)
    learner = Learner(networks, task, np.random.default_rng(seed))
    learner.learn(budget)
    solved = learner.solved_after > 0
    before = targets_before_error(learner.networks, task, np.random.default_rng(TEST_SEED + seed))
    perfect = int((before[solved] >= TESTED).sum())
    count = int(solved.sum())
    return Outcome(
        solved=count > 0,
        sequences=int(learner.solved_after[solved].median()) if count else learner.consumed,
        score=f"{count} of {task.networks} networks, {perfect} right over {TESTED:,} fresh targets",
        numbers={"solved": count, "networks": task.networks, "perfect": perfect, "tested": TESTED},
        curve=thinned(learner.curve),
        weights=learner.networks.numbers_of_one,
        seconds=time.perf_counter() - started,
    )
