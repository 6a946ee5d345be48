"""Training on documents of very uneven length, on one thread and on two.

The lengths are drawn like those of IMDB's reviews, or are theirs where HOLDFAST_DATA has them: words between
spaces, at most 1,000.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import ours
import torch
from case import Case, Entry
from peers.torch_layer import gradients
from problem import Array, Problem, Shape, Side, Work, make
from records import Row
from threads import on_threads
from torch import Tensor

LONGEST = 1000
# Of a log-normal distribution; the spread gives the mean of IMDB's 233 words for their median.
MEDIAN, SPREAD = 174, 0.77
DOCUMENTS = {"tiny": 6, "quick": 256, "full": 512}
BATCHES = {"tiny": (3,), "quick": (32,), "full": (32, 64)}
IN_FILE, SORTED = "in file order", "sorted"
DRAWN, REAL = "lengths like IMDB's", "IMDB's lengths"


def cases(size: str) -> Iterator[Case]:
    source, lengths = DRAWN, drawn_lengths(DOCUMENTS[size])
    if size == "tiny":
        lengths = np.maximum(1, lengths // 50)
    elif data := os.environ.get("HOLDFAST_DATA"):
        source, lengths = REAL, some(imdb_lengths(Path(data)), DOCUMENTS[size])
    for rows in BATCHES[size]:
        for order, ordered in ((IN_FILE, lengths), (SORTED, np.sort(lengths)[::-1])):
            shape = Shape(int(lengths.max()), rows, 64, 128)
            yield Case("ragged", f"{rows} rows, {order}, {source}", _entries(shape, ordered))


def _entries(shape: Shape, lengths: Array) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = replace(make(shape, "training"), lengths=lengths)
        return (Entry(on_threads(DOCUMENTS_OURS, threads), problem) for threads in (1, 2))

    return entries


def drawn_lengths(count: int) -> Array:
    drawn = np.random.default_rng(0).lognormal(math.log(MEDIAN), SPREAD, count)
    return np.clip(drawn.round(), 1, LONGEST).astype(np.int64)


@cache
def imdb_lengths(data: Path) -> Array:
    """Of the training rows, in the order of the file."""
    with gzip.open(data / "imdb/train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        words = [len(row["text"].split()) for row in csv.DictReader(file)]
    return np.clip(words, 1, LONGEST).astype(np.int64)


def some(lengths: Array, count: int) -> Array:
    """So many, evenly from all, in their order."""
    return lengths[np.linspace(0, len(lengths) - 1, count).astype(np.int64)]


def in_batches(problem: Problem) -> Work:
    """All documents once, batch by batch, each as long as its longest; gradients as of separate updates."""
    layer, rows = ours.make_layer(problem), problem.shape.B
    parameters = list(layer.parameters())
    given, upstream = torch.from_numpy(problem.x), torch.from_numpy(problem.upstream)
    all_lengths = torch.from_numpy(np.ascontiguousarray(problem.lengths))
    batches = [
        (given[: int(lengths.max())].clone().requires_grad_(), lengths) for lengths in all_lengths.split(rows)
    ]

    def train() -> Tensor:
        for x, lengths in batches:
            for tensor in (x, *parameters):
                tensor.grad = None
            output = layer(x, lengths=lengths)[0]
            output.backward(upstream[: x.size(0)])
        return output

    padded = sum(x.size(0) * rows for x, _ in batches)
    detail = f"{int(all_lengths.sum())} of {padded} steps are valid"
    return Work(train, lambda output: {"output": output.detach().numpy(), **gradients(layer)}, detail=detail)


def steps_of(row: Row) -> tuple[int, int]:
    """How many steps the documents have, and their batches."""
    valid, _, padded, *_ = row["detail"].split()
    return int(valid), int(padded)


DOCUMENTS_OURS = Side("holdfast.LSTM", "holdfast", in_batches)
ON_ONE, ON_TWO = (on_threads(DOCUMENTS_OURS, threads).name for threads in (1, 2))
