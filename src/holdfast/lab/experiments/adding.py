"""The adding problem: two marked numbers, far apart among many others, are to be added."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.learning import (
    LastRight,
    Learning,
    Reader,
    Sequences,
    identity,
    learn_and_test,
    squared_and_fourth,
)
from holdfast.nn.lstm import LSTM

BOUND, MEAN = 0.04, 0.01
HIDDEN = 16
FIRST_MARK_AMONG = 10
LEARNING = Learning(batch=16, rate=0.03, falls_below=0.05)
LONG, LONG_LEARNING = 1000, Learning(batch=16, rate=0.02, falls_below=0.05)


def draw_marked(
    generator: np.random.Generator, count: int, steps: int, *, lowest: float
) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Sequences of pairs (value, marker) with two marked values.

    The length is drawn from T to T + T/10. One of the first ten pairs is marked with 1, and one of the first
    T/2 - 1 that are not marked yet; the first and the last pair have the marker -1, all others 0. Where the
    very first pair is marked, its value counts for nothing (Hochreiter & Schmidhuber 1997, 5.4).

    Args:
        generator: of random numbers.
        count: how many sequences, B.
        steps: T.
        lowest: values are uniform between this and 1.

    Returns:
        x `[T', B, 2]`, lengths `[B]`, and the two marked values `[B]`, NaN for a first pair that is marked.
    """
    lengths = generator.integers(steps, steps + steps // 10 + 1, count)
    x = np.zeros((int(lengths.max()), count, 2), np.float32)
    x[:, :, 0] = generator.uniform(lowest, 1, x.shape[:2])
    rows = np.arange(count)
    first = generator.integers(0, FIRST_MARK_AMONG, count)
    second = generator.integers(0, steps // 2 - 2, count)
    second += second >= first
    x[0, :, 1] = x[lengths - 1, rows, 1] = -1
    x[first, rows, 1] = x[second, rows, 1] = 1
    values = [np.where(marked == 0, np.nan, x[marked, rows, 0]) for marked in (first, second)]
    return torch.from_numpy(x), torch.from_numpy(lengths), values[0], values[1]


def draw(generator: np.random.Generator, count: int, steps: int) -> Sequences:
    """Sequences of the adding problem: values in [-1, 1], the target is .5 + (X1 + X2) / 4."""
    x, lengths, one, other = draw_marked(generator, count, steps, lowest=-1)
    total = np.nan_to_num(one, nan=0.0) + np.nan_to_num(other, nan=0.0)
    return Sequences(x, lengths, torch.from_numpy(0.5 + total / 4).float()[:, None])


def new_layer(cell: str, steps: int) -> LSTM:
    """Two inputs; the LSTM starts remembering for about T steps (chrono: Tallec & Ollivier 2018)."""
    if cell == "rnn":
        return LSTM(2, HIDDEN, cell=cell)
    return LSTM(2, HIDDEN, cell=cell, init="chrono", max_lag=steps)


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to add."""
    steps = int(case.settings["steps"])
    torch.manual_seed(seed)
    network = Reader(new_layer(arm.name, steps), 1, identity)
    return learn_and_test(
        network,
        lambda generator, count: draw(generator, count, steps),
        LastRight(BOUND, mean=MEAN),
        LONG_LEARNING if steps >= LONG else LEARNING,
        budget=arm.budget,
        seed=seed,
        bound=BOUND,
        loss=squared_and_fourth,
    )


def case(steps: int, paper_sequences: int, wrong: int, budget: int) -> Case:
    """A line of the paper's table; the RNN gets three times what our slowest LSTM needed."""
    return Case(
        f"T = {steps}",
        f"{paper_sequences:,} sequences, {wrong} of 2560 wrong",
        (Arm("lstm", SOLVES, paper_sequences), Arm("rnn", FAILS, budget)),
        {"steps": steps},
        paper_sequences,
    )


ADDING = Experiment(
    name="adding",
    title="Adding two numbers far apart",
    source="Hochreiter & Schmidhuber 1997, experiment 4",
    question=(
        "Two of many numbers are marked; after the last step, the network gives their sum. The two must be "
        "kept, as numbers and not as symbols, over hundreds of steps of noise."
    ),
    criterion="the last 2,000 training sequences have an error below 0.04, and their mean is below 0.01",
    ours=(
        "Adam on batches of 16, 16 units, chrono initialisation, a learning rate of 0.03 (T = 1000: 0.02) "
        "that falls with the error, half the squared error and 20 times its fourth power as the loss, "
        "clipping at 1"
    ),
    cases=(case(100, 74_000, 1, 165_000), case(500, 209_000, 0, 240_000), case(1000, 853_000, 1, 270_000)),
    quick=(
        Case(
            "T = 40",
            "none: a short version",
            (Arm("lstm", SOLVES, 60_000), Arm("rnn", FAILS, 20_000)),
            {"steps": 40},
        ),
    ),
    run=run,
)
