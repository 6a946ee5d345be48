"""The first value of the forget gate's bias decides how far a network sees before it has learnt anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.experiments import adding
from holdfast.lab.learning import LastRight, Reader, identity, learn_and_test, squared_and_fourth
from holdfast.nn.lstm import LSTM

CHRONO = "chrono"
BIASES: Mapping[str, float] = {"forget bias 0": 0.0, "forget bias 1": 1.0, "forget bias 5": 5.0}


def start(arm: str, steps: int) -> dict[str, Any]:
    """The keywords of `LSTM` that an arm stands for."""
    if arm == CHRONO:
        return {"init": "chrono", "max_lag": steps}
    return {"forget_bias": BIASES[arm]} if arm in BIASES else {"cell": arm}


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to add; only its first values tell it from the other arms."""
    steps = int(case.settings["steps"])
    torch.manual_seed(seed)
    network = Reader(LSTM(2, adding.HIDDEN, **start(arm.name, steps)), 1, identity)
    return learn_and_test(
        network,
        partial(adding.draw, steps=steps),
        LastRight(math.inf, mean=adding.BOUND),
        adding.LEARNING,
        budget=arm.budget,
        seed=seed,
        bound=adding.BOUND,
        loss=squared_and_fourth,
    )


def case(steps: int, paper: str, expected: Mapping[str, str], budget: int) -> Case:
    """A line: every start with the same number of sequences."""
    arms = tuple(Arm(name, expected.get(name, ""), budget) for name in (CHRONO, *BIASES, "rnn"))
    return Case(f"adding, T = {steps}", paper, arms, {"steps": steps})


INITIALISATION = Experiment(
    name="initialisation",
    title="How the forget gate starts",
    source=(
        "Gers, Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015; Tallec & Ollivier 2018, 3"
    ),
    question=(
        "A forget gate of one half at the start lets the state shrink to a thousandth in ten steps, and the "
        "gradient with it. How much depends on the first value of its bias, when the lag is long?"
    ),
    criterion="the mean error of the last 2,000 training sequences is below 0.04, guessing gives 0.16",
    ours=(
        "the networks and the learning of the adding problem here, which differ in their first values alone; "
        "the papers judge by curves, and the adding problem of 2018 has other lengths and marks"
    ),
    cases=(
        case(200, "chrono learns sooner than bias 1", {CHRONO: SOLVES, "rnn": FAILS}, 40_000),
        case(750, "chrono learns sooner than bias 1", {CHRONO: SOLVES, "rnn": FAILS}, 24_000),
    ),
    quick=(case(40, "", {CHRONO: SOLVES, "rnn": FAILS}, 10_000),),
    run=run,
    error="mean error of the last 2,000 training sequences",
)
