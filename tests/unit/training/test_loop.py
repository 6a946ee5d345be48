"""The loop: it learns, it stops, it resumes to the same bits, and it leaves the outside as it was."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.errors import ModelFileError, TrainingError, TrainingInterrupted
from holdfast.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from holdfast.training.history import EpochRow
from holdfast.training.loop import Problem, Rows, fit
from holdfast.training.options import TrainingOptions
from holdfast.training.progress import Listener

STEPS = 5
ROWS = 8 * STEPS
OPTIONS = TrainingOptions(epochs=3, learning_rate=0.05, clip_norm=0.5, patience=9, seed=4)


class Toy(nn.Module):
    """Is the first number larger than the second? With dropout, so that the random state matters."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(ROWS, 3, generator=generator)
        self.y = (self.x[:, 0] > self.x[:, 1]).long()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.layers = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 2))

    def problem(self, **changes: Any) -> Problem:
        whole = Problem(shuffled, self.loss, self.validate, lambda rows: f"rows {rows.tolist()}", "toy")
        return dataclasses.replace(whole, **changes)

    def loss(self, rows: Rows) -> Tensor:
        return functional.cross_entropy(self.layers(self.x[rows]), self.y[rows])

    def validate(self) -> tuple[float, float]:
        with torch.no_grad():
            logits = self.layers(self.x)
        return float(functional.cross_entropy(logits, self.y)), float(
            (logits.argmax(1) == self.y).float().mean()
        )


def shuffled(epoch: int) -> list[Rows]:
    return np.split(np.random.default_rng(epoch).permutation(ROWS), STEPS)


class Recorder(Listener):
    """Writes down everything, and can act after a step."""

    def __init__(self, after_step: Callable[[int, int], None] | None = None) -> None:
        self.heard: list[Any] = []
        self.after_step = after_step

    def message(self, text: str) -> None:
        self.heard.append(text)

    def start(self, epochs: int, steps_per_epoch: int) -> None:
        self.heard.append(("start", epochs, steps_per_epoch))

    def step(self, epoch: int, step: int, loss: float) -> None:
        self.heard.append(("step", epoch, step))
        assert math.isfinite(loss)
        if self.after_step is not None:
            self.after_step(epoch, step)

    def epoch(self, row: EpochRow) -> None:
        self.heard.append(("epoch", row.epoch))


def stopping_at(epoch: int, step: int) -> Recorder:
    def stop(*now: int) -> None:
        if now == (epoch, step):
            os.kill(os.getpid(), signal.SIGINT)

    return Recorder(stop)


def bits(network: nn.Module) -> bytes:
    return b"".join(parameter.detach().numpy().tobytes() for parameter in network.parameters())


def without_seconds(history: list[EpochRow]) -> list[EpochRow]:
    return [dataclasses.replace(row, seconds=0.0) for row in history]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_learns() -> None:
    toy = Toy()
    before, _ = toy.validate()
    history = fit(toy, toy.problem(), dataclasses.replace(OPTIONS, epochs=20, patience=20))
    loss, accuracy = toy.validate()
    assert accuracy > 0.9
    assert loss < before / 2
    assert not toy.training
    assert [row.epoch for row in history] == list(range(1, 21))
    assert loss == min(row.valid_loss for row in history)  # the best average is what is left


def test_the_same_seed_gives_the_same_bits_whatever_the_state_outside() -> None:
    one, two, other = Toy(), Toy(), Toy()
    histories = [fit(one, one.problem(), OPTIONS)]
    torch.manual_seed(99)
    histories.append(fit(two, two.problem(), OPTIONS))
    fit(other, other.problem(), dataclasses.replace(OPTIONS, seed=5))
    assert bits(one) == bits(two) != bits(other)
    assert without_seconds(histories[0]) == without_seconds(histories[1])


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("place", [(1, 1), (1, 5), (2, 3), (3, 2), (3, 5)])
def test_stopped_and_resumed_gives_the_same_bits(
    tmp_path: Path, place: tuple[int, int], schedule: Any
) -> None:
    options = dataclasses.replace(OPTIONS, schedule=schedule)
    whole, stopped, resumed = Toy(), Toy(), Toy()
    history = fit(whole, whole.problem(), options, checkpoint=tmp_path / "whole")
    with pytest.raises(TrainingInterrupted, match=f"epoch {place[0]}, step {place[1]} of 5.*--resume"):
        fit(stopped, stopped.problem(), options, checkpoint=tmp_path / "run", listener=stopping_at(*place))
    torch.manual_seed(123)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.fill_(7.0)  # the checkpoint alone decides
    recorder = Recorder()
    again = fit(
        resumed,
        resumed.problem(),
        options,
        checkpoint=tmp_path / "run",
        resume=True,
        listener=recorder,
    )
    assert bits(resumed) == bits(whole)
    assert without_seconds(again) == without_seconds(history)
    assert recorder.heard[0] == f"resumed after epoch {place[0] - 1}, step {place[1]}"
    assert sum(entry[0] == "step" for entry in recorder.heard[1:]) == 5 * (3 - place[0]) + 5 - place[1]
    ends = [load_checkpoint(tmp_path / name) for name in ("whole", "run")]
    for name, tensor in ends[0].tensors.items():
        assert ends[1].tensors[name].numpy().tobytes() == tensor.numpy().tobytes(), name
    differing = {name for name in ends[0].facts if ends[0].facts[name] != ends[1].facts[name]}
    assert differing <= {"history"}


@pytest.mark.parametrize("minutes", [0.0, 1e-9])
def test_resumed_from_a_checkpoint_of_a_killed_run(tmp_path: Path, minutes: float) -> None:
    """With 0 minutes the newest checkpoint is of an epoch's end, otherwise here of each step."""
    options = dataclasses.replace(OPTIONS, checkpoint_minutes=minutes)
    whole, resumed = Toy(), Toy()

    def copy(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 4):
            shutil.copy(tmp_path / "run", tmp_path / "kept")

    history = fit(whole, whole.problem(), options, checkpoint=tmp_path / "run", listener=Recorder(copy))
    facts = load_checkpoint(tmp_path / "kept").facts
    assert (facts["epoch"], facts["position"]) == ((1, 0) if minutes == 0 else (1, 3))
    again = fit(resumed, resumed.problem(), options, checkpoint=tmp_path / "kept", resume=True)
    assert bits(resumed) == bits(whole)
    assert without_seconds(again) == without_seconds(history)


def test_a_finished_run_resumes_to_its_end(tmp_path: Path) -> None:
    whole, again = Toy(), Toy()
    history = fit(whole, whole.problem(), OPTIONS, checkpoint=tmp_path / "run")
    assert fit(again, again.problem(), OPTIONS, checkpoint=tmp_path / "run", resume=True) == history
    assert bits(again) == bits(whole)


def test_without_a_checkpoint_a_stop_says_that_nothing_is_kept() -> None:
    toy = Toy()
    with pytest.raises(TrainingInterrupted, match="No checkpoint was asked for"):
        fit(toy, toy.problem(), OPTIONS, listener=stopping_at(1, 2))


CHANGES = {
    "epochs": 4,
    "learning_rate": 0.1,
    "weight_decay": 0.5,
    "warmup": 0.3,
    "schedule": "plateau",
    "clip_norm": 2.0,
    "patience": 1,
    "average_epochs": 0.5,
    "seed": 5,
    "batch_size": 4,
}


@pytest.mark.parametrize(("name", "value"), CHANGES.items())
def test_resuming_with_another_option_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    toy = Toy()
    fit(toy, toy.problem(), OPTIONS, checkpoint=tmp_path / "run")
    changed = dataclasses.replace(OPTIONS, **{name: value})
    change = f"{name} was {getattr(OPTIONS, name)} and is {value}"
    with pytest.raises(ModelFileError, match=f"^the checkpoint was made with .*: {change}"):
        fit(toy, toy.problem(), changed, checkpoint=tmp_path / "run", resume=True)


def test_resuming_with_other_rows_or_threads_is_refused(tmp_path: Path, threads: None) -> None:
    toy = Toy()
    torch.set_num_threads(1)
    fit(toy, toy.problem(), OPTIONS, checkpoint=tmp_path / "run")
    with pytest.raises(ModelFileError, match="hash of rows and network was toy and is other"):
        fit(toy, toy.problem(identity="other"), OPTIONS, checkpoint=tmp_path / "run", resume=True)
    torch.set_num_threads(2)
    with pytest.raises(ModelFileError, match="number of threads was 1 and is 2"):
        fit(toy, toy.problem(), OPTIONS, checkpoint=tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", [None, "none"])
def test_resuming_without_a_checkpoint_is_refused(tmp_path: Path, name: str | None) -> None:
    toy = Toy()
    with pytest.raises(ModelFileError):
        fit(toy, toy.problem(), OPTIONS, checkpoint=None if name is None else tmp_path / name, resume=True)


def test_a_checkpoint_that_lacks_anything_is_refused(tmp_path: Path) -> None:
    toy = Toy()
    fit(toy, toy.problem(), OPTIONS, checkpoint=tmp_path / "run")
    whole = load_checkpoint(tmp_path / "run")
    damaged = [
        Checkpoint(whole.tensors, {k: v for k, v in whole.facts.items() if k != name}) for name in whole.facts
    ]
    damaged += [Checkpoint(whole.tensors, {**whole.facts, name: "x"}) for name in whole.facts]
    damaged += [Checkpoint(whole.tensors, {**whole.facts, name: None}) for name in whole.facts]
    damaged += [
        Checkpoint({k: v for k, v in whole.tensors.items() if k != name}, whole.facts)
        for name in whole.tensors
        if not name.startswith("optimizer.")
    ]
    damaged += [
        Checkpoint({**whole.tensors, name: torch.zeros(2, 9)}, whole.facts)
        for name in ("network.layers.0.weight",)
    ]
    for checkpoint in damaged:
        save_checkpoint(tmp_path / "damaged", checkpoint)
        with pytest.raises(ModelFileError):
            fit(toy, toy.problem(), OPTIONS, checkpoint=tmp_path / "damaged", resume=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_with_advice(tmp_path: Path, value: float) -> None:
    toy = Toy()
    calls: list[bytes] = []

    def loss(rows: Rows) -> Tensor:
        calls.append(bits(toy))
        return toy.loss(rows) * (value if len(calls) == 8 else 1.0)

    outside = torch.get_rng_state()
    with pytest.raises(TrainingError) as caught:
        fit(toy, toy.problem(loss=loss), OPTIONS, checkpoint=tmp_path / "run")
    rows = shuffled(1)[2].tolist()
    for part in (
        "epoch 2, step 3",
        f"the loss is {value}",
        f"rows {rows}",
        "learning_rate (now 0.05)",
        "clip_norm",
    ):
        assert part in str(caught.value)
    assert bits(toy) == calls[-1]  # the step was not taken
    assert (load_checkpoint(tmp_path / "run").facts["epoch"]) == 1
    assert torch.equal(torch.get_rng_state(), outside)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_gradient_that_is_not_finite_ends_the_training() -> None:
    toy = Toy()

    def loss(rows: Rows) -> Tensor:
        return toy.loss(rows) + 0 * (toy.layers[0].weight - toy.layers[0].weight.detach()).abs().sqrt().sum()

    with pytest.raises(TrainingError, match=r"epoch 1, step 1: the loss is 0.* the norm of its gradient nan"):
        fit(toy, toy.problem(loss=loss), OPTIONS)


def test_clipping_and_the_losses_are_counted() -> None:
    """A network of one number whose gradient is what the batch says."""
    scales = [0.5, 2.0, 3.0, 0.9, 1.0, 1.1]
    network = nn.Linear(1, 1, bias=False)

    def loss(rows: Rows) -> Tensor:
        total = network.weight.sum() * scales[rows[0]]
        return total - total.detach() + float(rows[0])

    batches = [np.array([k] * (k + 1)) for k in range(6)]
    problem = Problem(lambda epoch: batches, loss, lambda: (1.0, 0.5), str, "clip")
    history = fit(network, problem, TrainingOptions(epochs=2, clip_norm=1.0))
    for row in history:
        assert row.clipped_share == 3 / 6
        assert row.gradient_norm == 3.0
        # mean over rows: batch k has k + 1 rows of loss k
        assert row.train_loss == pytest.approx(sum(k * (k + 1) for k in range(6)) / 21, rel=1e-6)
        assert (row.valid_loss, row.valid_accuracy) == (1.0, 0.5)
        assert row.seconds > 0


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([3.0, 1.0, 2.0, 2.0, 0.5], 2, 4, 2),
        ([3.0, 1.0, 2.0, 0.5, 2.0], 2, 5, 4),
        ([1.0, 1.0, 1.0], 1, 2, 1),
        ([math.nan, 2.0, math.inf, 3.0], 2, 4, 2),
        ([math.nan, math.nan, 1.0, 2.0, 2.0], 2, 5, 3),
    ],
)
def test_patience_stops_and_the_best_average_is_left(
    losses: list[float], patience: int, epochs: int, best: int
) -> None:
    toy, averages, modes = Toy(), [], []

    def validate() -> tuple[float, float]:
        averages.append(bits(toy))
        modes.append(toy.training)
        return losses[len(averages) - 1], 0.5

    options = dataclasses.replace(OPTIONS, epochs=5, patience=patience)
    history = fit(toy, toy.problem(validate=validate), options)
    assert len(history) == epochs
    assert bits(toy) == averages[best - 1]
    assert len(set(averages)) == epochs
    assert not any(modes)


def test_training_goes_on_from_the_weights_and_not_from_their_average() -> None:
    """The average of a horizon of 0 is the weights themselves: the same steps, whatever the horizon."""
    losses: list[list[float]] = []
    for horizon in (0.0, 2.0):
        toy = Toy()
        history = fit(toy, toy.problem(), dataclasses.replace(OPTIONS, average_epochs=horizon))
        losses.append([row.train_loss for row in history])
    assert losses[0] == losses[1]


def test_the_learning_rate_follows_the_schedule() -> None:
    toy = Toy()
    history = fit(toy, toy.problem(), dataclasses.replace(OPTIONS, warmup=0.2))
    rates = [row.learning_rate for row in history]
    expected = [0.05 * 0.5 * (1 + math.cos(math.pi * (step - 3) / 12)) for step in (5, 10, 15)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_only_matrices_decay() -> None:
    """A loss without a gradient moves nothing but what decays."""
    network = nn.Linear(2, 2)
    nn.init.ones_(network.weight)
    nn.init.ones_(network.bias)

    def loss(rows: Rows) -> Tensor:
        return 0.0 * (network.weight.sum() + network.bias.sum())

    problem = Problem(lambda epoch: [np.arange(2)], loss, lambda: (1.0, 1.0), str, "decay")
    options = TrainingOptions(epochs=1, learning_rate=0.1, weight_decay=0.5, warmup=1.0, average_epochs=0)
    fit(network, problem, options)
    torch.testing.assert_close(network.weight, torch.full((2, 2), 1 - 0.1 * 0.5))
    assert (network.bias == 1).all()


def test_the_outside_is_left_as_it_was(threads: None) -> None:
    toy = Toy()
    torch.set_num_threads(2)
    before, handlers = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    fit(toy, toy.problem(), OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    assert signal.getsignal(signal.SIGINT) is handlers


def test_the_listener_hears_everything_in_order() -> None:
    toy, recorder = Toy(), Recorder()
    fit(toy, toy.problem(), dataclasses.replace(OPTIONS, epochs=2), listener=recorder)
    expected: list[Any] = [("start", 2, STEPS)]
    for epoch in (1, 2):
        expected += [("step", epoch, step) for step in range(1, STEPS + 1)]
        expected.append(("epoch", epoch))
    assert recorder.heard == expected
