"""torch.nn.LSTM, dense and packed; also how any layer of torch is run and trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from problem import BFLOAT16_TOLERANCE, Arrays, Problem, Side, Work
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def layer_work(
    problem: Problem, layer: nn.Module, run: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32
) -> Work:
    """Forward under inference mode, or forward and backward to the input and every parameter.

    The dtype is that of the output.
    """
    x = torch.from_numpy(problem.x)
    if not problem.training:

        @torch.inference_mode()
        def forward() -> Tensor:
            return run(x)

        return Work(forward, lambda output: {"output": output.float().numpy()})
    x.requires_grad_()
    upstream = torch.from_numpy(problem.upstream).to(dtype)
    inputs = [x, *layer.parameters()]

    def train() -> Tensor:
        for tensor in inputs:
            tensor.grad = None
        output = run(x)
        output.backward(upstream)
        return output

    def arrays(output: Tensor) -> Arrays:
        return {"output": output.detach().float().numpy(), "d_x": gradient(x), **gradients(layer)}

    return Work(train, arrays)


def gradient(tensor: Tensor) -> Any:
    assert tensor.grad is not None
    return tensor.grad.numpy()


def gradients(layer: nn.Module) -> Arrays:
    """The gradient of each parameter of a layer or a cell; the two biases have the same one."""
    named = {}
    for name, parameter in layer.named_parameters():
        plain = name.replace("bias_ih", "bias").replace("_l0", "")
        if "bias_hh" not in name:
            named["d_" + plain] = gradient(parameter)
    return named


def load(layer: nn.Module, problem: Problem, suffix: str = "_l0") -> nn.Module:
    named = {name.replace("_l0", suffix): torch.from_numpy(value) for name, value in problem.weights.items()}
    layer.load_state_dict(named)
    return layer


def _layer(problem: Problem) -> nn.LSTM:
    shape = problem.shape
    projection = problem.keywords.get("proj_size", 0)
    layer = nn.LSTM(shape.I, shape.H, shape.layers, bidirectional=shape.directions == 2, proj_size=projection)
    load(layer, problem)
    return layer


def dense(problem: Problem) -> Work:
    layer = _layer(problem)
    if problem.state is None:
        return layer_work(problem, layer, lambda x: layer(x)[0])
    x, state = torch.from_numpy(problem.x), tuple(torch.from_numpy(part)[None] for part in problem.state)

    @torch.inference_mode()
    def step() -> Any:
        return layer(x, state)

    return Work(
        step,
        lambda result: {
            "output": result[0][0].numpy(),
            "h": result[1][0][0].numpy(),
            "c": result[1][1][0].numpy(),
        },
    )


def packed(problem: Problem) -> Work:
    """Packed, run, padded again: what rows of uneven length cost."""
    layer, lengths = _layer(problem), torch.from_numpy(problem.lengths)

    def run(x: Tensor) -> Tensor:
        output, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output)[0]

    return layer_work(problem, layer, run)


def in_bfloat16(problem: Problem) -> Work:
    """Under autocast, as ours."""
    layer = _layer(problem)

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)[0]  # type: ignore[no-any-return]

    return layer_work(problem, layer, run, torch.bfloat16)


def _but_plain(problem: Problem) -> str | None:
    known = problem.variant in ("plain", "projection")
    return None if known else f"it has no {problem.variant}"


SIDE = Side("torch.nn.LSTM", "torch", dense, refuses=_but_plain)
PACKED = Side("torch.nn.LSTM, packed", "torch", packed)
BFLOAT16 = Side("torch.nn.LSTM, bfloat16", "torch", in_bfloat16, tolerance=BFLOAT16_TOLERANCE)
