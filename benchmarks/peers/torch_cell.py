"""A loop over torch.nn.LSTMCell."""

from __future__ import annotations

from typing import Any

import torch
from problem import Problem, Side, Work
from torch import Tensor, nn

from peers.torch_layer import layer_work, load


def build(problem: Problem) -> Work:
    cell = nn.LSTMCell(problem.shape.I, problem.shape.H)
    load(cell, problem, suffix="")
    if problem.state is not None:
        return _step(problem, cell)

    def run(x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.size(1), problem.shape.H)
        outputs = []
        for x_t in x.unbind():
            h, c = cell(x_t, (h, c))
            outputs.append(h)
        return torch.stack(outputs)

    return layer_work(problem, cell, run)


def _step(problem: Problem, cell: nn.LSTMCell) -> Work:
    x, state = torch.from_numpy(problem.x[0]), tuple(torch.from_numpy(part) for part in problem.state or ())

    @torch.inference_mode()
    def step() -> Any:
        return cell(x, state)

    return Work(
        step, lambda result: {"output": result[0].numpy(), "h": result[0].numpy(), "c": result[1].numpy()}
    )


SIDE = Side("torch.nn.LSTMCell, loop", "torch", build)
