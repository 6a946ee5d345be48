"""Odd sizes: the vector units and blocks of a fused path have edges that one small shape does not meet."""

from __future__ import annotations

import pytest
import torch

from holdfast.cells import CELLS
from holdfast.kernels.choose import BACKENDS
from holdfast.nn.lstm import LSTM


def check_one_draw(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    steps, batch, inputs, hidden = draw(1, 70), draw(1, 20), draw(1, 70), draw(2, 70)
    cell = list(CELLS)[draw(0, len(CELLS) - 1)]
    layer = LSTM(inputs, hidden, draw(1, 2), bidirectional=bool(draw(0, 1)), cell=cell, dtype=torch.float64)
    x = torch.randn(steps, batch, inputs, dtype=torch.float64, generator=generator)
    lengths = torch.randint(0, steps + 1, (batch,), generator=generator)
    layer.backend = "reference"
    exact, exact_state = layer(x, lengths=lengths)
    layer.float()
    for backend in BACKENDS:
        layer.backend = backend.name
        if backend.supports(layer.request(x.float(), lengths=lengths)) is not None:
            continue
        found, state = layer(x.float(), lengths=lengths)
        for one, other in zip((found, *state), (exact, *exact_state), strict=True):
            # Values of at most about 1 in float32, through at most 140 steps that do not amplify.
            torch.testing.assert_close(
                one.double(), other, rtol=0.0, atol=1e-5, msg=f"{backend.name}, seed {seed}"
            )


@pytest.mark.parametrize("seed", range(12))
def test_some_random_shapes(seed: int) -> None:
    check_one_draw(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 300))
def test_many_random_shapes(seed: int) -> None:
    check_one_draw(seed)
