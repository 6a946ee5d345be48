"""Generating timed spikes: nothing from outside says when an interval is over."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.timed_streams import Streams, Task, learn_and_test

BOUND = 0.49
TRUNCATED, FULL = "truncated", "full"
NETWORKS = {FULL: 10, TRUNCATED: 120}
SPIKE_WEIGHT = 0.25
"""An error at a spike counts as much as those of this share of the steps between spikes."""


def draw(generator: np.random.Generator, shape: tuple[int, int], spikes: int, *, interval: int) -> Streams:
    """A spike every F steps; there is no input, and nothing to be drawn.

    Args:
        generator: of random numbers.
        shape: B, N.
        spikes: how many.
        interval: F.
    """
    steps = torch.arange(1, spikes * interval + 1)
    ends = (steps % interval == 0)[:, None, None].expand(-1, *shape)
    weights = torch.where(ends, SPIKE_WEIGHT * interval, 1.0)
    return Streams(torch.zeros(ends.shape), ends.float(), weights, ends)


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """Networks learn to spike."""
    task = learnt_by(str(case.settings["gradient"]), int(case.settings["interval"]))
    return learn_and_test(arm.name, task, budget=arm.budget, seed=seed)


def learnt_by(gradient: str, interval: int) -> Task:
    """The task with what was found to serve each gradient."""
    spikes = partial(draw, interval=interval)
    if gradient == FULL:
        return Task(spikes, BOUND, networks=NETWORKS[gradient])
    return Task(
        spikes,
        BOUND,
        rate=0.05,
        slower_after=0.1,
        biases={"i": -1.0, "f": 1.0},
        truncated=True,
        networks=NETWORKS[gradient],
    )


def case(interval: int, gradient: str, budget: int, *, without: str = FAILS) -> Case:
    """A line: each network may read as many streams; `without` is expected of the LSTM without peepholes."""
    arms = (Arm("peephole", SOLVES, budget), Arm("lstm", without, budget), Arm("rnn", FAILS, budget))
    settings = {"interval": interval, "gradient": gradient}
    return Case(f"every {interval} steps, {gradient} gradient", "only with peepholes", arms, settings)


GENERATING_SPIKES = Experiment(
    name="generating-spikes",
    title="Generating timed spikes",
    source="Gers, Schraudolph & Schmidhuber 2002, the task GTS",
    question=(
        "A network with one memory cell is to spike every F steps, and nothing from outside tells it when. "
        "Its gates must see how far the cell has counted; without peepholes they see only what the output "
        "gate lets through."
    ),
    criterion=(
        "100 spikes in a row from a state of zeros, each step with an error below 0.49; a run is several "
        "networks, and solved where at least one of them solves it"
    ),
    ours=(
        "networks of one memory cell (17 numbers with peepholes, 14 without): 120 by the truncated "
        "gradient, which does not run through the h that re-enters (in the paper nor from the peepholes to "
        "the cell), and 10 by the full one; Adam on the cross entropy up to the first error of a stream, "
        "where a spike counts as much as a quarter of the steps between; steps are smaller the further a "
        "network gets; candidate and cell go through tanh, in the paper through nothing"
    ),
    cases=(case(10, TRUNCATED, 8_000), case(10, FULL, 8_000)),
    quick=(case(8, FULL, 2_500, without=""),),
    run=run,
    counts="training streams of each network",
    error="networks that have not solved it",
    note=(
        "With the truncated gradient peepholes decide: few networks of one cell learn to spike in time at "
        "all, and all of them have peepholes. With the full gradient, which the paper did not have, "
        "networks without peepholes learn it too, though fewer of them: there we disagree with the paper. "
        "Not run here: intervals that an input sets, and more than 10 steps, where by the full gradient few "
        "networks with peepholes got as far (1 of 32 at 20 steps)."
    ),
)
