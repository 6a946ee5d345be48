"""The reference loop: its backward pass is linear in T."""

from __future__ import annotations

import pytest
import torch

from holdfast.cells import CELLS
from holdfast.nn.lstm import LSTM


def elements_touched_by_backward(cell: str, steps: int) -> int:
    """The elements of all gradients that autograd hands on while it goes back through the loop."""
    layer = LSTM(3, 4, cell=cell, backend="reference")
    output, _ = layer(torch.randn(steps, 2, 3, requires_grad=True), lengths=[steps, steps // 2])
    touched = 0

    def count(gradients: tuple[torch.Tensor | None, ...], _: object) -> None:
        nonlocal touched
        touched += sum(gradient.numel() for gradient in gradients if gradient is not None)

    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        node.register_hook(count)
        waiting += [following for following, _ in node.next_functions]
    output.sum().backward()
    return touched


@pytest.mark.parametrize("cell", CELLS)
def test_the_backward_pass_is_linear_in_time(cell: str) -> None:
    short, long = (elements_touched_by_backward(cell, steps) for steps in (40, 80))
    # Slicing x[t] would make each step's gradient as large as x itself: four times as many, not two.
    assert long < 2.1 * short
