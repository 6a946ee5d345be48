"""Probes: when they look, what they write; training is the same bits with them and after a resume."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.errors import ConfigError, TrainingInterrupted
from holdfast.nn.lstm import LSTM
from holdfast.training.loop import Problem, Rows, fit
from holdfast.training.options import TrainingOptions
from holdfast.training.probe_sinks import CsvSink, from_csv
from holdfast.training.probes import Probe, ProbeRow
from holdfast.training.progress import Listener

STEPS, COUNT, SEQUENCE = 5, 20, 6
OPTIONS = TrainingOptions(epochs=3, learning_rate=0.05, clip_norm=1.0, patience=9, seed=4)


class Reader(nn.Module):
    """Is the first number positive? With dropout and running means, which a look must not move."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.x = torch.randn(SEQUENCE, COUNT, 2)
            self.y = (self.x[0, :, 0] > 0).long()
            self.lstm, self.norm = LSTM(2, 4, zoneout=0.1), nn.BatchNorm1d(4)
            self.dropout, self.head = nn.Dropout(0.3), nn.Linear(4, 2)

    def loss(self, rows: Rows) -> Tensor:
        last = self.lstm(self.x[:, rows])[0][-1]
        return functional.cross_entropy(self.head(self.dropout(self.norm(last))), self.y[rows])

    def problem(self) -> Problem:
        def validate() -> tuple[float, float]:
            with torch.no_grad():
                return float(self.loss(np.arange(COUNT))), 0.5

        return Problem(shuffled, self.loss, validate, str, "reader")


def shuffled(epoch: int) -> list[Rows]:
    return np.split(np.random.default_rng(epoch).permutation(COUNT), STEPS)


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int, int]] = []
        self.rows: list[ProbeRow] = []
        self.steps: list[int] = []
        self.closed = 0

    def begin(self, epoch: int, step: int, steps: int) -> None:
        self.begun.append((epoch, step, steps))

    def write(self, rows: Sequence[ProbeRow], step: int) -> None:
        self.rows += rows
        self.steps.append(step)

    def close(self) -> None:
        self.closed += 1


def bits(network: nn.Module) -> bytes:
    return b"".join(value.detach().numpy().tobytes() for value in network.state_dict().values())


def stopping_at(epoch: int, step: int) -> Listener:
    class Stopper(Listener):
        def step(self, *now: Any) -> None:
            if now[:2] == (epoch, step):
                os.kill(os.getpid(), signal.SIGINT)

    return Stopper()


@pytest.mark.parametrize("every", [1, 2])
def test_training_is_the_same_bits_with_probes(every: int) -> None:
    plain, probed = Reader(), Reader()
    histories = [fit(plain, plain.problem(), OPTIONS)]
    histories.append(fit(probed, probed.problem(), OPTIONS, probe=Probe(Kept(), every=every, rows=2)))
    assert bits(plain) == bits(probed)
    assert [row.train_loss for row in histories[0]] == [row.train_loss for row in histories[1]]


def test_it_looks_every_so_many_steps_over_all_epochs() -> None:
    reader, kept = Reader(), Kept()
    fit(reader, reader.problem(), OPTIONS, probe=Probe(kept, every=4))
    assert kept.steps == [4, 8, 12]
    losses = [(row.epoch, row.step) for row in kept.rows if row.measure == "loss"]
    assert losses == [(1, 4), (2, 3), (3, 2)]
    assert kept.begun == [(1, 0, 0)]
    assert kept.closed == 1


def test_what_it_writes_of_the_step_is_the_step_s() -> None:
    reader, kept = Reader(), Kept()
    losses: list[float] = []

    class Hearing(Listener):
        def step(self, epoch: int, step: int, loss: float) -> None:
            losses.append(loss)

    (last, *_) = reversed(
        fit(reader, reader.problem(), OPTIONS, probe=Probe(kept, every=1), listener=Hearing())
    )
    own = [row for row in kept.rows if not row.layer]
    by_measure = {
        name: [row.value for row in own if row.measure == name] for name in {row.measure for row in own}
    }
    assert set(by_measure) == {"loss", "gradient_norm", "clipped_share"}
    assert by_measure["loss"] == losses
    assert max(by_measure["gradient_norm"][-STEPS:]) == last.gradient_norm
    assert by_measure["clipped_share"][-1] == last.clipped_share
    assert 0 < last.clipped_share < 1
    of_layer = {(row.measure, row.gate, row.lag) for row in kept.rows if row.layer == 1}
    shares = {(name, gate, None) for name in ("shut", "open") for gate in "ifo"}
    assert of_layer == {("state_gradient_norm", "", lag) for lag in (0, 1, 2, 4)} | shares
    assert {row.direction for row in kept.rows if row.layer} == {"forward"}


def test_it_reads_a_few_rows_of_the_batch_and_no_more() -> None:
    reader, seen = Reader(), []
    problem = reader.problem()
    wrapped = Problem(
        shuffled,
        lambda rows: seen.append(rows.tolist()) or reader.loss(rows),
        problem.validate,
        str,
        "reader",
    )
    fit(reader, wrapped, TrainingOptions(epochs=1), probe=Probe(Kept(), every=3, rows=2))
    batches = [rows.tolist() for rows in shuffled(0)]
    assert seen == [*batches[:3], batches[2][:2], *batches[3:]]


@pytest.mark.parametrize("place", [(1, 3), (2, 1), (2, 5), (3, 4)])
def test_a_resumed_run_goes_on_with_its_file(tmp_path: Path, place: tuple[int, int]) -> None:
    def probe(name: str) -> Probe:
        return Probe(CsvSink(tmp_path / name), every=2)

    whole, stopped, resumed = Reader(), Reader(), Reader()
    fit(whole, whole.problem(), OPTIONS, probe=probe("whole.csv"))
    with pytest.raises(TrainingInterrupted):
        fit(
            stopped,
            stopped.problem(),
            OPTIONS,
            checkpoint=tmp_path / "run",
            probe=probe("run.csv"),
            listener=stopping_at(*place),
        )
    # What a run that was killed later than its checkpoint has written besides; and half a line.
    with (tmp_path / "run.csv").open("a") as file:
        file.write("3,5,loss,9.0,0,,,\n3,5,gradient_no")
    fit(resumed, resumed.problem(), OPTIONS, checkpoint=tmp_path / "run", resume=True, probe=probe("run.csv"))
    assert bits(whole) == bits(resumed)
    ours, theirs = (from_csv((tmp_path / name).read_text()) for name in ("run.csv", "whole.csv"))
    assert ours == theirs


def test_a_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        reader = Reader()
        fit(reader, reader.problem(), OPTIONS, probe=Probe(CsvSink(tmp_path / "p.csv"), every=5))
        texts.append((tmp_path / "p.csv").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"rows": 0}, {"every": -1}])
def test_numbers_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"of a probe is .*; it must be 1 or more"):
        Probe(Kept(), **wrong)
