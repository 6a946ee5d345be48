"""The first value of the forget gate's bias decides how far a network sees before it has learnt anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.experiments import adding, copy_memory
from holdfast.lab.learning import LastRight, Reader, identity, learn_and_test, squared_and_fourth
from holdfast.nn.lstm import LSTM

CHRONO = "chrono"
BIASES: Mapping[str, float] = {"forget bias 0": 0.0, "forget bias 1": 1.0, "forget bias 5": 5.0}
ARMS = (CHRONO, *BIASES, "rnn")
EXPECTED: Mapping[str, str] = {CHRONO: SOLVES, "rnn": FAILS}
PAPER = "2018: chrono learns sooner than a forget bias of 1"


def start(arm: str, steps: int) -> dict[str, Any]:
    """The keywords of `LSTM` that an arm stands for."""
    if arm == CHRONO:
        return {"init": "chrono", "max_lag": steps}
    return {"forget_bias": BIASES[arm]} if arm in BIASES else {"cell": arm}


def run(case: Case, arm: Arm, seed: int) -> Outcome:
    """One network learns to add or to copy; only its first values tell it from the other arms."""
    torch.manual_seed(seed)
    if "delay" in case.settings:
        task = copy_memory.Task(**case.settings)
        layer = copying_layer(arm.name, task.delay)
        learning = copy_memory.RNN_LEARNING if arm.name == "rnn" else copy_memory.LSTM_LEARNING
        copier = copy_memory.Copier(layer)
        return copy_memory.learn_to_copy(copier, task, learning, budget=arm.budget, seed=seed)
    steps = int(case.settings["steps"])
    return learn_and_test(
        Reader(LSTM(2, adding.HIDDEN, **start(arm.name, steps)), 1, identity),
        partial(adding.draw, steps=steps),
        LastRight(math.inf, mean=adding.BOUND),
        adding.LEARNING,
        budget=arm.budget,
        seed=seed,
        bound=adding.BOUND,
        loss=squared_and_fourth,
    )


def copying_layer(arm: str, delay: int) -> LSTM:
    """The layer of the copy task that an arm stands for."""
    if arm in BIASES:
        return copy_memory.new_layer("lstm", delay, BIASES[arm])
    return copy_memory.new_layer("rnn" if arm == "rnn" else "lstm", delay)


def case(
    name: str, paper: str, settings: Mapping[str, int], budget: int, arms: tuple[str, ...] = ARMS
) -> Case:
    """A line: every start with the same number of sequences."""
    taking_part = (Arm(arm, EXPECTED.get(arm, ""), budget) for arm in arms)
    return Case(name, paper, tuple(taking_part), settings)


INITIALISATION = Experiment(
    name="initialisation",
    title="How the forget gate starts",
    source="Tallec & Ollivier 2018; on the forget bias Gers et al. 2000 and Jozefowicz et al. 2015",
    question=(
        "A forget gate of one half lets the state shrink to a thousandth in ten steps, and the gradient with "
        "it. How much depends on the first value of its bias, where the lag is long?"
    ),
    criterion=(
        "adding: the mean error of the last 2,000 training sequences is below 0.04, guessing gives 0.16; "
        "copying: their loss is below half of the memoryless one"
    ),
    ours=(
        "the networks and the learning of the adding problem and of copy memory here, which differ in their "
        "first values alone; the paper has no criterion but shows curves, and its adding problem has other "
        "lengths and marks"
    ),
    cases=(
        case("adding, T = 200", PAPER, {"steps": 200}, 40_000),
        case("adding, T = 750", PAPER, {"steps": 750}, 24_000),
        case("copying, T = 100", PAPER, {"delay": 100}, 40_000, ARMS[:-1]),
    ),
    quick=(case("adding, T = 40", "as with longer lags", {"steps": 40}, 10_000),),
    run=run,
    error="mean error of the last 2,000 training sequences; in copying, their loss over the memoryless one",
    note=(
        "On adding, every step brings a number, and an open forget gate alone would keep them all: chrono "
        "closes the input gate as well, and alone learns. On copying, where nothing comes in during the "
        "silence, a larger bias brings the loss further below the memoryless one, and none as far as chrono "
        "does."
    ),
)
