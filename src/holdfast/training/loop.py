"""The training loop: one function a reader can follow, from the first step to the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.errors import ModelFileError, TrainingError, TrainingInterrupted
from holdfast.training import schedule
from holdfast.training.allocator import keep_freed_memory
from holdfast.training.checkpoint import load_checkpoint, save_checkpoint
from holdfast.training.history import EpochRow
from holdfast.training.interrupt import StopRequest, stop_on_signals
from holdfast.training.options import TrainingOptions
from holdfast.training.probes import Probe, ProbeRow
from holdfast.training.progress import Listener
from holdfast.training.run import Run

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, apart from how.

    Attributes:
        batches: the batches of an epoch (counted from 0) as arrays of row indices; decided by the epoch
            alone.
        loss: the mean loss of a batch, a scalar with a graph.
        validate: loss and accuracy on the validation rows, with the network as it is.
        name_rows: how to call a batch's rows in a message.
        identity: a short text that is the same for the same rows and the same network; a checkpoint of
            another is refused.
    """

    batches: Callable[[int], Sequence[Rows]]
    loss: Callable[[Rows], Tensor]
    validate: Callable[[], tuple[float, float]]
    name_rows: Callable[[Rows], str]
    identity: str


def fit(
    network: nn.Module,
    problem: Problem,
    options: TrainingOptions,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    probe: Probe | None = None,
) -> list[EpochRow]:
    """Train `network` by AdamW until validation stops improving, and leave the best averaged weights in it.

    Same seed, data and number of threads: same bits, also when the run was stopped and resumed from its
    checkpoint. The state of torch's random generator outside is left as it was.

    Args:
        network: trained in place.
        problem: the batches, the loss and the validation.
        options: how long and how fast.
        checkpoint: file to write after every epoch, every `checkpoint_minutes`, and when the user stops;
            None: none.
        resume: go on from `checkpoint`.
        listener: told of every step and epoch.
        probe: looks inside the network every so many steps; changes no bit of the training.

    Returns:
        One row per epoch.

    Raises:
        TrainingError: a loss or a gradient is not finite; names the step and the rows.
        TrainingInterrupted: the user asked to stop; the checkpoint holds everything to go on.
        ModelFileError: `resume` without a usable checkpoint.
    """
    listener = listener or Listener()
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]), stop_on_signals() as stop, ExitStack() as stack:
        torch.manual_seed(options.seed)
        run = Run(network, options, steps_per_epoch=len(problem.batches(0)), identity=problem.identity)
        if resume:
            if checkpoint is None:
                raise ModelFileError("resume needs the checkpoint to go on from, and none was named")
            run.restore(load_checkpoint(checkpoint))
            listener.message(f"resumed after epoch {run.epoch}, step {run.position}")
        listener.start(options.epochs, run.steps_per_epoch)
        if probe is not None:
            stack.callback(probe.sink.close)
            probe.sink.begin(run.epoch + 1, run.position, run.steps)
        while run.epoch < options.epochs and run.epochs_without_gain < options.patience:
            _train_epoch(run, problem, checkpoint, stop, listener, probe)
            listener.epoch(run.history[-1])
            if checkpoint is not None:
                save_checkpoint(checkpoint, run.checkpoint())
            if stop.asked and run.epoch < options.epochs:
                raise _interrupted(f"after epoch {run.epoch}", checkpoint)
        run.take_best()
    return run.history


def _train_epoch(
    run: Run,
    problem: Problem,
    checkpoint: Path | None,
    stop: StopRequest,
    listener: Listener,
    probe: Probe | None,
) -> None:
    """Train from the run's position to the end of its epoch, then validate the averaged weights."""
    options, started, saved = run.options, time.monotonic(), time.monotonic()
    run.network.train()
    batches = problem.batches(run.epoch)
    for rows in batches[run.position :]:
        loss, norm = _step(run, problem, rows)
        run.count(loss, norm, len(rows))
        listener.step(run.epoch + 1, run.position, loss)
        if probe is not None and probe.due(run.steps):
            probe.take(run.network, problem.loss, rows, _own_numbers(run, loss, norm), run.steps)
        minutes = (time.monotonic() - saved) / 60
        if checkpoint is not None and (stop.asked or minutes >= options.checkpoint_minutes > 0):
            save_checkpoint(checkpoint, run.checkpoint())
            saved = time.monotonic()
        if stop.asked:
            raise _interrupted(f"in epoch {run.epoch + 1}, step {run.position} of {len(batches)}", checkpoint)
    with run.average.swapped_into(run.network):
        run.network.eval()
        valid_loss, valid_accuracy = problem.validate()
    run.end_epoch(valid_loss, valid_accuracy, time.monotonic() - started)


def _interrupted(where: str, checkpoint: Path | None) -> TrainingInterrupted:
    kept = f"{checkpoint} holds everything; the same command with --resume goes on"
    return TrainingInterrupted(f"stopped {where}. {kept if checkpoint else 'No checkpoint was asked for.'}")


def _step(run: Run, problem: Problem, rows: Rows) -> tuple[float, float]:
    """One step of AdamW on one batch: its loss, and the norm of its gradient before clipping."""
    options = run.options
    run.set_learning_rate(_learning_rate(run))
    loss = problem.loss(rows)
    run.optimizer.zero_grad()
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(run.network.parameters(), options.clip_norm))
    value = loss.item()
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"epoch {run.epoch + 1}, step {run.position + 1}: the loss is {value}, the norm of its gradient "
            f"{norm}. The batch holds {problem.name_rows(rows)}. Try a lower training.learning_rate "
            f"(now {options.learning_rate:g}) or a lower training.clip_norm (now {options.clip_norm:g})"
        )
    run.optimizer.step()
    run.average.update(run.network)
    return value, norm


def _own_numbers(run: Run, loss: float, norm: float) -> list[ProbeRow]:
    """What a probe writes down of the step itself."""
    clipped = run.sums["clipped"] / run.sums["steps"]
    numbers = {"loss": loss, "gradient_norm": norm, "clipped_share": clipped}
    return [ProbeRow(run.epoch + 1, run.position, name, value) for name, value in numbers.items()]


def _learning_rate(run: Run) -> float:
    options = run.options
    step = run.steps + 1
    steps = options.epochs * run.steps_per_epoch
    if options.schedule == "cosine":
        return options.learning_rate * schedule.cosine(min(step, steps), steps, options.warmup)
    losses = [row.valid_loss for row in run.history]
    return options.learning_rate * schedule.plateau(step, steps, options.warmup, losses)
