"""Long lags, 2a and 2b: every next symbol is to be predicted, and the last one is the first one again."""

from __future__ import annotations

import time
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.lab.experiment import Arm, Case, Outcome
from holdfast.lab.learning import TEST_BATCH, TEST_SEED, TESTED, thinned
from holdfast.lab.trial import TRIAL_SEED, TenThousandRight
from holdfast.nn.lstm import LSTM

BOUND = 0.25
HIDDEN = 8
LAGS = 3
BATCH = 8
RATE = 0.02
DIRECT_RATE = 0.015
CLIP = 1.0
LAST_WEIGHS = 100
"""The error of the last symbol counts as much as this many times the mean error of all."""
RARE = -3.0
"""Where the logit of every output starts: a symbol among a hundred is rarely the next one."""


def draw(generator: np.random.Generator, count: int, *, symbols: int, regular: bool) -> Tensor:
    """Sequences of p + 1 symbols `[p + 1, B]` (int64) that begin and end with x or with y.

    Args:
        generator: of random numbers.
        count: how many sequences, B.
        symbols: p; there are p - 1 others, `0` to `p - 2`, then x, which is `p - 1`, and y.
        regular: whether the others come in their order (2a), or at random (2b).
    """
    shape = (symbols + 1, count)
    if regular:
        sequences = np.broadcast_to(np.arange(-1, symbols)[:, None], shape).copy()
    else:
        sequences = generator.integers(0, symbols - 1, shape)
    sequences[0] = sequences[-1] = symbols - 1 + generator.integers(0, 2, count)
    return torch.from_numpy(sequences)


def new_layer(cell: str, symbols: int) -> LSTM:
    """p + 1 symbols in; the LSTM starts with memories of up to three times the lag (chrono)."""
    if cell == "rnn":
        return LSTM(symbols + 1, HIDDEN, cell=cell, sparse_input=True)
    return LSTM(symbols + 1, HIDDEN, cell=cell, init="chrono", max_lag=LAGS * symbols, sparse_input=True)


class Predictor(nn.Module):
    """Says at each symbol which one it expects next; inputs have connections to the outputs, as in the paper.

    Args:
        cell: the cell by name.
        symbols: p; there are p + 1 inputs and outputs.
    """

    def __init__(self, cell: str, symbols: int) -> None:
        super().__init__()
        self.layer = new_layer(cell, symbols)
        self.head = nn.Linear(HIDDEN, symbols + 1, bias=False)
        self.direct = nn.Embedding(symbols + 1, symbols + 1)
        nn.init.constant_(self.direct.weight, RARE)

    def forward(self, symbols: Tensor) -> Tensor:
        """The outputs `[T, B, p + 1]`, each from 0 to 1, after each of `symbols` `[T, B]`."""
        output, _ = self.layer(symbols)
        return torch.sigmoid(cast(Tensor, self.head(output) + self.direct(symbols)))


def wanted(sequences: Tensor, symbols: int) -> Tensor:
    """The next symbols, one-hot `[p, B, p + 1]`."""
    return nn.functional.one_hot(sequences[1:], symbols + 1).float()


def errors(outputs: Tensor, targets: Tensor, *, regular: bool) -> Tensor:
    """The largest absolute errors `[B]`: at every step where all can be known, else at the last one."""
    each = (outputs - targets).abs().amax(2)
    return each.amax(0) if regular else each[-1]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared error of a step, averaged over the steps, and that of the last one 100 times."""
    each = (outputs - targets).square().sum(2)
    return each.mean() + LAST_WEIGHS * each[-1].mean()


def learn(
    network: Predictor, criterion: TenThousandRight, case: Case, *, budget: int, seed: int
) -> list[tuple[float, float]]:
    """Learn fresh sequences until the criterion is met or the budget spent; the curve of its error."""
    generator = np.random.default_rng(seed)
    remembering = [*network.layer.parameters(), *network.head.parameters()]
    optimiser = torch.optim.Adam(remembering, RATE, fused=True)
    optimiser.add_param_group({"params": [network.direct.weight], "lr": DIRECT_RATE})
    curve = [(0.0, 1.0)]
    while curve[-1][0] < budget and not criterion.met():
        sequences = draw(generator, BATCH, **case.settings)
        outputs, targets = network(sequences[:-1]), wanted(sequences, case.settings["symbols"])
        criterion.see(errors(outputs.detach(), targets, regular=case.settings["regular"]))
        optimiser.zero_grad()
        loss(outputs, targets).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        curve.append((curve[-1][0] + BATCH, criterion.error))
    return curve


def fresh_errors(network: Predictor, case: Case, generator: np.random.Generator, count: int) -> Tensor:
    """The errors `[B]` of new sequences."""
    sequences = draw(generator, count, **case.settings)
    targets = wanted(sequences, case.settings["symbols"])
    return errors(network(sequences[:-1]), targets, regular=case.settings["regular"])


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to predict."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    network = Predictor(arm.name, case.settings["symbols"])
    tried = partial(fresh_errors, network, case, np.random.default_rng(TRIAL_SEED + seed))
    criterion = TenThousandRight(BOUND, tried)
    curve = learn(network, criterion, case, budget=arm.budget, seed=seed)
    generator = np.random.default_rng(TEST_SEED + seed)
    with torch.no_grad():
        tested = [fresh_errors(network, case, generator, TEST_BATCH) for _ in range(TESTED // TEST_BATCH)]
    wrong = int((torch.cat(tested) >= BOUND).sum())
    return Outcome(
        solved=criterion.met(),
        sequences=int(curve[-1][0]),
        score=f"{wrong} of {TESTED} wrong",
        numbers={"wrong": wrong, "tested": TESTED, "trials": criterion.trials},
        curve=thinned(curve[1:]),
        weights=sum(p.numel() for p in network.parameters()),
        seconds=time.perf_counter() - started,
    )
