"""Train in float32 and with the products of the recurrent layers in bfloat16; print the scores side by side.

    python benchmarks/bfloat16_accuracy.py [--only adding] [--seeds 3] [--data FOLDER] [--rows 2000]

Both begin with the same weights and see the same data, seed by seed. `adding` is the adding problem
(Hochreiter and Schmidhuber 1997): sequences of 100 steps of a number in [0, 1] and a mark; the answer is the
sum of the two marked numbers. `imdb` is the text classifier of holdfast on FOLDER/imdb/{train,test}.csv.gz,
FOLDER from --data or HOLDFAST_DATA; --rows takes so many training and so many test rows. Only recurrent
layers run under autocast.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import text_classification
import torch
from torch import Tensor, nn
from torch.utils import _pytree

import holdfast
from holdfast.kernels.native import NativeBackend

STEPS, HIDDEN, BATCH = 100, 64, 50
TEST_ROWS = 5000
TYPES = ("float32", "bfloat16")
RESULTS = text_classification.RESULTS
FIELDS = ("task", "score", "seed", "type", "value", "seconds", "threads", "settings")


class Score(NamedTuple):
    """One result of one training run."""

    task: str
    score: str
    seed: int
    type: str
    value: float
    seconds: float
    settings: str


@contextmanager
def layers_in_bfloat16() -> Iterator[None]:
    """Every holdfast.LSTM runs under autocast, and gives float32 back."""
    own = holdfast.LSTM.forward

    def forward(self: holdfast.LSTM, *given: Any, **named: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            results = own(self, *given, **named)
        return _pytree.tree_map(lambda result: result.float(), results)

    holdfast.LSTM.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        holdfast.LSTM.forward = own  # type: ignore[method-assign]


def reason_against() -> str | None:
    """Why the core would not run a layer in bfloat16 here; None where it does."""
    backend, layer = NativeBackend(), holdfast.LSTM(2, HIDDEN)
    with torch.autocast("cpu", torch.bfloat16):
        return backend.available() or backend.supports(layer.request(torch.zeros(1, 1, 2)))


class Adder(nn.Module):
    """The sum of what is marked, read off the last h."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = holdfast.LSTM(2, HIDDEN, forget_bias=1.0)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The answers `[B]` to `[T, B, 2]`."""
        return self.head(self.layer(x)[1].h[0])[:, 0]  # type: ignore[no-any-return]


def additions(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Problems `[T, rows, 2]`, one mark in each half, and their answers."""
    numbers = torch.rand(STEPS, rows, generator=generator)
    marks = torch.zeros(STEPS, rows)
    for first in (0, STEPS // 2):
        marks.scatter_(0, torch.randint(first, first + STEPS // 2, (1, rows), generator=generator), 1.0)
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(0)


def adding(seed: int, name: str, arguments: argparse.Namespace) -> Iterator[Score]:
    """The mean squared error on problems that were not trained on; that of the mean answer is 0.167."""
    torch.manual_seed(seed)
    model, draw = Adder(), torch.Generator().manual_seed(1000 + seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    began = time.monotonic()
    for _ in range(arguments.updates):
        x, answers = additions(BATCH, draw)
        loss = (model(x) - answers).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    seconds = time.monotonic() - began
    x, answers = additions(TEST_ROWS, torch.Generator().manual_seed(1))
    with torch.no_grad():
        error = float((model(x) - answers).square().mean())
    settings = f"{arguments.updates} updates of {BATCH}"
    yield Score("adding", "mean squared error", seed, name, error, seconds, settings)


def imdb(seed: int, name: str, arguments: argparse.Namespace) -> Iterator[Score]:
    """What the LSTM part alone scores on the test rows."""
    (problem,) = text_classification.imdb(arguments.data)
    if arguments.rows:
        some = random.Random(0)
        train, test = (some.sample(part, arguments.rows) for part in (problem.train, problem.test))
        problem = problem._replace(train=train, test=test)
    for row in text_classification.run("imdb", problem, seed, arguments.settings):
        if row["predictor"] != "lstm":
            continue
        settings = " ".join([f"{row['rows']} test rows", *arguments.settings])
        for score in text_classification.METRICS:
            if score in row:
                yield Score("imdb", score, seed, name, float(row[score]), float(row["seconds"]), settings)


TASKS = {"adding": (adding, 5), "imdb": (imdb, 1)}


def table(scores: list[Score]) -> str:
    """A line for each score of each task: the mean of both types, their difference, and each seed."""
    lines = ["| task | score | seeds | float32 | bfloat16 | difference | largest between seeds of float32 |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for task, score in dict.fromkeys((one.task, one.score) for one in scores):
        of_type = {
            name: {one.seed: one for one in scores if (one.task, one.score, one.type) == (task, score, name)}
            for name in TYPES
        }
        seeds = sorted(of_type["float32"].keys() & of_type["bfloat16"].keys())
        if not seeds:
            continue
        own, rounded = ([of_type[name][seed].value for seed in seeds] for name in TYPES)
        means = statistics.fmean(own), statistics.fmean(rounded)
        spread = f"{max(own) - min(own):.5f}" if len(seeds) > 1 else ""
        numbers = f"{means[0]:.5f} | {means[1]:.5f} | {means[1] - means[0]:+.5f} | {spread}"
        lines.append(f"| {task} | {score} | {len(seeds)} | {numbers} |")
    for task in dict.fromkeys(one.task for one in scores):
        seconds = [
            statistics.median(one.seconds for one in scores if (one.task, one.type) == (task, name))
            for name in TYPES
            if any((one.task, one.type) == (task, name) for one in scores)
        ]
        if len(seconds) == len(TYPES):
            lines.append(
                f"\n{task}: {seconds[0]:.0f} s in float32, {seconds[1]:.0f} s in bfloat16 (training, median)"
            )
    return "\n".join(lines)


def write(path: Path, scores: list[Score]) -> None:
    """All scores so far; a run that is stopped leaves what it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for score in scores:
            writer.writerow({**score._asdict(), "threads": torch.get_num_threads()})


def main() -> int:
    """Run what was asked for, type by type within each seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, help="runs with seeds 0, 1, ...; default 5, for imdb 1")
    parser.add_argument("--updates", type=int, default=6000, help="of `adding`")
    parser.add_argument("--data", type=Path, default=os.environ.get("HOLDFAST_DATA"))
    parser.add_argument("--rows", type=int, help="of `imdb`; all of them unless given")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "bfloat16_accuracy.csv")
    arguments = parser.parse_args()
    if "imdb" in arguments.only and arguments.data is None:
        parser.error("imdb needs --data FOLDER or HOLDFAST_DATA; --only adding does without")
    if reason := reason_against():
        parser.error(f"there is nothing to compare: {reason}")
    if arguments.data is not None:
        arguments.data = Path(arguments.data)
    scores: list[Score] = []
    for task in arguments.only:
        run, seeds = TASKS[task]
        for seed in range(arguments.seeds or seeds):
            for name in TYPES:
                with layers_in_bfloat16() if name == "bfloat16" else nullcontext():
                    scores += run(seed, name, arguments)
                write(arguments.out, scores)
            print(f"{table(scores)}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
