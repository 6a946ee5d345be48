"""Temporal order: two or three marks, far apart among distractors; their order tells the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.learning import LastRight, Learning, Reader, Sequences, learn_and_test
from holdfast.nn.lstm import LSTM

BOUND, MEAN = 0.3, 0.1
DISTRACTORS = 4
START, END, X, Y = range(DISTRACTORS, DISTRACTORS + 4)
SYMBOLS = DISTRACTORS + 4
HIDDEN = 16
LEARNING = Learning(batch=8, rate=0.02)

Span = tuple[int, int]
LENGTHS: Span = (100, 110)
TWO_MARKS: tuple[Span, ...] = ((10, 20), (50, 60))
THREE_MARKS: tuple[Span, ...] = ((10, 20), (33, 43), (66, 76))


def draw(generator: np.random.Generator, count: int, lengths: Span, marks: Sequence[Span]) -> Sequences:
    """Sequences of symbols: E, then distractors out of four with a mark, X or Y, in each span, and B.

    Args:
        generator: of random numbers.
        count: how many sequences, B.
        lengths: the least and the greatest length, both are drawn.
        marks: M spans; the step of a mark is drawn from the first to the last of its span.

    Returns:
        x `[T, B]` (int64); targets `[B, 2^M]`, one-hot: the class is the marks read as a binary number, the
        first one foremost, X as 0 and Y as 1.
    """
    ends = generator.integers(lengths[0], lengths[1] + 1, count)
    x = generator.integers(0, DISTRACTORS, (int(ends.max()), count))
    rows = np.arange(count)
    classes = np.zeros(count, np.int64)
    for first, last in marks:
        steps = generator.integers(first, last + 1, count)
        second = generator.integers(0, 2, count)
        x[steps, rows] = np.where(second, Y, X)
        classes = 2 * classes + second
    x[0] = START
    x[ends - 1, rows] = END
    targets = nn.functional.one_hot(torch.from_numpy(classes), 2 ** len(marks)).float()
    return Sequences(torch.from_numpy(x), torch.from_numpy(ends), targets)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each output on its own, in nats, averaged: outputs are not made to sum to 1."""
    return nn.functional.binary_cross_entropy(outputs, targets)


def new_layer(cell: str, steps: int) -> LSTM:
    """Symbols in; the LSTM starts remembering for about the longest sequence (chrono)."""
    if cell == "rnn":
        return LSTM(SYMBOLS, HIDDEN, cell=cell, sparse_input=True)
    return LSTM(SYMBOLS, HIDDEN, cell=cell, init="chrono", max_lag=steps, sparse_input=True)


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to tell the orders apart."""
    lengths, marks = case.settings["lengths"], case.settings["marks"]
    torch.manual_seed(seed)
    return learn_and_test(
        Reader(new_layer(arm.name, lengths[1]), 2 ** len(marks)),
        lambda generator, count: draw(generator, count, lengths, marks),
        LastRight(BOUND, mean=MEAN),
        LEARNING,
        budget=arm.budget,
        seed=seed,
        bound=BOUND,
        loss=loss,
    )


def case(name: str, marks: tuple[Span, ...], paper_sequences: int, wrong: int, *, budget: int) -> Case:
    """A line of the paper's table; the RNN gets `budget` sequences."""
    return Case(
        name,
        f"{paper_sequences:,} sequences, {wrong} of 2560 wrong",
        (Arm("lstm", SOLVES, paper_sequences), Arm("rnn", FAILS, budget)),
        {"lengths": LENGTHS, "marks": marks},
        paper_sequences,
    )


TEMPORAL_ORDER = Experiment(
    name="temporal-order",
    title="The order of marks far apart",
    source="Hochreiter & Schmidhuber 1997, experiments 6a and 6b",
    question=(
        "Two (6a) or three marks (6b), each X or Y, stand far apart among a hundred distractors; after the "
        "last step their order tells one of 4 or 8 classes. What the same symbol means depends on what came "
        "dozens of steps before."
    ),
    criterion=(
        "the last 2,000 training sequences have an error below 0.3 in every output, and the mean of their "
        "largest errors is below 0.1"
    ),
    ours=(
        f"Adam on batches of {LEARNING.batch}, {HIDDEN} units, chrono initialisation, a learning rate of "
        f"{LEARNING.rate}, the cross-entropy of each output as the loss, clipping at {LEARNING.clip:g}"
    ),
    cases=(
        case("6a, two marks", TWO_MARKS, 31_390, 1, budget=31_390),
        case("6b, three marks", THREE_MARKS, 571_100, 2, budget=100_000),
    ),
    quick=(
        Case(
            "two marks, length 50",
            "none: a short version",
            (Arm("lstm", SOLVES, 20_000), Arm("rnn", FAILS, 15_000)),
            {"lengths": (50, 55), "marks": ((5, 10), (25, 30))},
        ),
    ),
    run=run,
    error="mean of the largest errors of the last 2,000 training sequences",
)
