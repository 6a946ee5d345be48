"""Odd sizes: the vector units and blocks of a fused path have edges that one small shape does not meet."""

from __future__ import annotations

import copy

import pytest
import torch
from tolerance import allowed_difference, largest_difference
from torch import Tensor

from holdfast.cells import CELLS
from holdfast.kernels.choose import BACKENDS
from holdfast.nn.lstm import LSTM


def results(
    layer: LSTM, x: Tensor, lengths: Tensor, backend: str, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Output and state by name, from the same numbers in that type."""
    layer = copy.deepcopy(layer).to(dtype)
    layer.backend = backend
    with torch.no_grad():
        output, state = layer(x.to(dtype), lengths=lengths)
    return {"output": output, **dict(zip(layer.cell.states, state, strict=True))}


def check_one_draw(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    steps, batch, inputs, hidden = draw(1, 70), draw(1, 20), draw(1, 70), draw(2, 70)
    cell = list(CELLS)[draw(0, len(CELLS) - 1)]
    layer = LSTM(inputs, hidden, draw(1, 2), bidirectional=bool(draw(0, 1)), cell=cell)
    x = torch.randn(steps, batch, inputs, generator=generator)
    lengths = torch.randint(0, steps + 1, (batch,), generator=generator)
    exact = results(layer, x, lengths, "reference", torch.float64)
    own = results(layer, x, lengths, "reference")
    for backend in BACKENDS:
        if backend.supports(layer.request(x, lengths=lengths)) is not None:
            continue
        found = results(layer, x, lengths, backend.name)
        for name, value in exact.items():
            allowed = allowed_difference(largest_difference(own[name], value), torch.float32)
            difference = largest_difference(found[name], value)
            where = f"{backend.name}, seed {seed}, {name}"
            assert difference <= allowed, f"{where}: {difference:.3g} from float64, {allowed:.3g} allowed"


@pytest.mark.parametrize("seed", range(12))
def test_some_random_shapes(seed: int) -> None:
    check_one_draw(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 300))
def test_many_random_shapes(seed: int) -> None:
    check_one_draw(seed)
