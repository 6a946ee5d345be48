"""What a probe costs: one look inside a network, against one whole step of its training.

At the default of a look every 100 steps the cost is a hundredth of the ratio.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from case import Case, Entry
from problem import Problem, Shape, Side, Work, make
from torch import Tensor, nn

import holdfast
from holdfast.training.look import Rows, look
from holdfast.training.options import ProbeOptions

CLASSES = 2
SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 32, 64, 64),),
    "full": (
        Shape(20, 32, 32, 32),
        Shape(25, 32, 128, 128, directions=2),
        Shape(100, 32, 64, 64),
        Shape(400, 64, 64, 128),
        Shape(100, 32, 128, 256, layers=2),
    ),
}


class Training:
    """A classifier of the mean state and all that a step of its training needs."""

    def __init__(self, problem: Problem) -> None:
        shape = problem.shape
        torch.manual_seed(0)
        both = shape.directions == 2
        layer = holdfast.LSTM(shape.I, shape.H, shape.layers, bidirectional=both)
        self.network = nn.ModuleDict({"lstm": layer, "head": nn.Linear(shape.H * shape.directions, CLASSES)})
        self.optimizer = torch.optim.AdamW(self.network.parameters(), fused=True)
        self.x = torch.from_numpy(problem.x)
        self.rows = np.arange(shape.B)

    def loss(self, rows: Rows) -> Tensor:
        output = self.network["lstm"](self.x[:, rows])[0]
        logits = self.network["head"](output.mean(0))
        return nn.functional.cross_entropy(logits, torch.from_numpy(rows % CLASSES))

    def step(self) -> None:
        loss = self.loss(self.rows)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()


def in_step(problem: Problem) -> Work:
    return Work(Training(problem).step, None)


def in_look(problem: Problem) -> Work:
    training, rows = Training(problem), ProbeOptions().rows
    return Work(lambda: look(training.network, training.loss, training.rows[:rows]), None)


SIDES = (
    Side("a step of training", "holdfast", in_step),
    Side(f"a look at {ProbeOptions().rows} of its rows", "holdfast", in_look),
)


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        yield Case("probing", str(shape), partial(_entries, shape))


def _entries(shape: Shape) -> Iterator[Entry]:
    problem = make(shape, "training")
    return (Entry(side, problem) for side in SIDES)
