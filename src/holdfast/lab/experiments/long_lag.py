"""Long lags among distractors, 2c: the second symbol tells the last one, up to a thousand symbols later."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.learning import Draw, LastRight, Learning, Reader, Sequences, largest_error, learn_and_test
from holdfast.nn.lstm import LSTM

BOUND = 0.2
CALM = 256
"""Right training sequences in a row before a trial is made."""
TRIED = 10_000
TRIAL_BATCH = 250
TRIAL_SEED = 2 * 10**6
STOP = 0.1
HIDDEN = 4
LAGS = 3
"""Memory starts at up to three times the lag, so that most units reach over it."""
LEARNING = Learning(batch=16, rate=0.02, betas=(0.9, 0.999))
MOST_OF_RNN = 12_500


def draw(generator: np.random.Generator, count: int, *, distractors: int, lag: int) -> Sequences:
    """Sequences b, then x or y, then q + k distractors, then e: what follows is x or y again.

    After q distractors each further symbol is e with probability 1/10, so that k is geometric and the time
    between the second symbol and the answer is q + 1 steps at least (Hochreiter & Schmidhuber 1997, 5.2).

    Args:
        generator: of random numbers.
        count: how many sequences, B.
        distractors: p, how many different distractors there are.
        lag: q.

    Returns:
        x `[T, B]` (int64), all but the last symbol; targets `[B, 2]`, one-hot: x or y.
    """
    e, b, x_symbol, y_symbol = range(distractors, distractors + 4)
    further = generator.geometric(STOP, count) - 1
    ends = lag + further + 2
    symbols = generator.integers(0, distractors, (int(ends.max()) + 1, count))
    second = generator.integers(0, 2, count)
    symbols[0] = b
    symbols[1] = np.where(second, y_symbol, x_symbol)
    symbols[ends, np.arange(count)] = e
    targets = nn.functional.one_hot(torch.from_numpy(second), 2).float()
    return Sequences(torch.from_numpy(symbols), torch.from_numpy(ends + 1), targets)


class TenThousandRight(LastRight):
    """The paper's criterion: without learning, 10,000 fresh sequences in a row are all right.

    A trial is made whenever the last 256 training sequences were right; where one of the 10,000 is wrong, the
    network learns on until as many more are right.

    Args:
        network: what is tried.
        draw: gives the fresh sequences.
        seed: of the fresh sequences.
    """

    def __init__(self, network: Reader, draw: Draw, seed: int) -> None:
        super().__init__(BOUND, CALM)
        self.network, self.draw = network, draw
        self.generator = np.random.default_rng(TRIAL_SEED + seed)
        self.trials, self.passed = 0, False

    def met(self) -> bool:
        if not self.passed and super().met():
            self.trials += 1
            self.passed = self._all_right()
            self.right_in_a_row = 0
        return self.passed

    @torch.no_grad()
    def _all_right(self) -> bool:
        for _ in range(TRIED // TRIAL_BATCH):
            sequences = self.draw(self.generator, TRIAL_BATCH)
            outputs = self.network(sequences.x, sequences.lengths)
            if (largest_error(outputs, sequences.truth) >= self.bound).any():
                return False
        return True


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each output on its own, in nats, averaged."""
    return nn.functional.binary_cross_entropy(outputs, targets)


def new_layer(cell: str, symbols: int, lag: int) -> LSTM:
    """Symbols in; the LSTM starts with memories of up to three times the lag (chrono)."""
    if cell == "rnn":
        return LSTM(symbols, HIDDEN, cell=cell, sparse_input=True)
    return LSTM(symbols, HIDDEN, cell=cell, init="chrono", max_lag=LAGS * lag, sparse_input=True)


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to give the second symbol back."""
    distractors, lag = int(case.settings["distractors"]), int(case.settings["lag"])
    some = partial(draw, distractors=distractors, lag=lag)
    torch.manual_seed(seed)
    network = Reader(new_layer(arm.name, distractors + 4, lag), 2)
    return learn_and_test(
        network,
        some,
        TenThousandRight(network, some, seed),
        LEARNING,
        budget=arm.budget,
        seed=seed,
        bound=BOUND,
        loss=loss,
    )


def case(lag: int, distractors: int, paper_sequences: int) -> Case:
    """A line of the paper's table 3."""
    return Case(
        f"2c, q = {lag}, p = {distractors}",
        f"{paper_sequences:,} sequences",
        (Arm("lstm", SOLVES, paper_sequences), Arm("rnn", FAILS, MOST_OF_RNN)),
        {"lag": lag, "distractors": distractors},
        paper_sequences,
    )


LONG_LAG = Experiment(
    name="long-lag",
    title="Lags of up to a thousand steps among distractors",
    source="Hochreiter & Schmidhuber 1997, experiment 2c",
    question=(
        "The second symbol, x or y, is to be given back after q random distractors and some more, when the "
        "symbol e asks for it. No short sequence ever shows the way, and no regularity helps."
    ),
    criterion=(
        "without learning, both outputs have an error below 0.2 for 10,000 fresh sequences in a row; tried "
        "whenever 256 training sequences in a row were right, and counted in training sequences until then"
    ),
    ours=(
        f"Adam on batches of {LEARNING.batch}, {HIDDEN} units (2 in the paper), chrono initialisation with "
        f"{LAGS} q, a learning rate of {LEARNING.rate}, the cross-entropy of each output as the loss, "
        f"clipping at {LEARNING.clip:g}"
    ),
    cases=(
        case(50, 50, 30_000),
        case(100, 100, 31_000),
        case(200, 200, 33_000),
        case(500, 500, 38_000),
        case(1000, 1000, 49_000),
        case(1000, 500, 49_000),
        case(1000, 200, 75_000),
        case(1000, 100, 135_000),
        case(1000, 50, 203_000),
    ),
    quick=(
        Case(
            "2c, q = 40, p = 50",
            "none: a short version",
            (Arm("lstm", SOLVES, 20_000), Arm("rnn", FAILS, 10_000)),
            {"lag": 40, "distractors": 50},
        ),
    ),
    run=run,
    error="mean of the largest errors of the last 256 training sequences",
)
