"""Pooling: each kind against a loop over rows, and padding that never takes part, whatever it holds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from holdfast.errors import ConfigError
from holdfast.nn.pool import POOLINGS, Pool

LENGTHS = torch.tensor([5, 1, 3, 4])
PADDINGS = (0.0, 1e30, -1e30, math.inf, -math.inf, math.nan)


def ragged(features: int, padding: float = 0.0) -> Tensor:
    output = torch.randn(5, 4, features)
    for row, length in enumerate(LENGTHS):
        output[length:, row] = padding
    return output


def by_hand(pool: Pool, name: str, steps: Tensor) -> Tensor:
    """The pooling of the valid steps `[T, F]` of one row."""
    if name == "last":
        half = steps.shape[1] // pool.directions
        return torch.cat([steps[-1, :half], steps[0, half:]])
    if name == "mean":
        return steps.mean(0)
    if name == "max":
        return steps.max(0).values
    scores = [(pool.query.weight[0] @ step + pool.query.bias[0]).exp() for step in steps]
    return sum(score * step for score, step in zip(scores, steps, strict=True)) / sum(scores)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(
    "poolings", [names for n in (1, 2, 4) for names in itertools.permutations(POOLINGS, n)][:20]
)
def test_each_row_is_pooled_by_itself(poolings: tuple[str, ...], directions: int) -> None:
    pool, output = Pool(poolings, 6, directions=directions), ragged(6)
    pooled = pool(output, LENGTHS)
    assert pooled.shape == (4, pool.out_features) == (4, 6 * len(poolings))
    for row, length in enumerate(LENGTHS):
        expected = torch.cat([by_hand(pool, name, output[:length, row]) for name in poolings])
        # sums of at most 5 numbers of order 1 in another order
        torch.testing.assert_close(pooled[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", POOLINGS)
def test_padding_changes_neither_value_nor_gradient(name: str, padding: float) -> None:
    pool = Pool([name], 4, directions=2)
    results = []
    for filled in (0.0, padding):
        torch.manual_seed(1)
        output = ragged(4, filled).requires_grad_()
        pool.zero_grad()
        pooled = pool(output, LENGTHS)
        pooled.square().sum().backward()
        query = [] if pool.query is None else [pool.query.weight.grad, pool.query.bias.grad]
        results.append([pooled.detach(), output.grad, *query])
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
        assert dirty.isfinite().all()
    for row, length in enumerate(LENGTHS):
        assert (results[1][1][length:, row] == 0).all()


def test_scores_of_attention_far_from_zero_do_not_overflow() -> None:
    pool = Pool(["attention"], 2)
    with torch.no_grad():
        pool.query.weight.fill_(1e4)
    output = torch.tensor([[[1.0, 1.0]], [[3.0, -1.0]], [[2.0, 3.0]]])
    torch.testing.assert_close(pool(output, torch.tensor([3])), output[2])


@pytest.mark.parametrize("poolings", [(), ("last", "median"), ("mean", "mean")])
def test_wrong_names_are_refused(poolings: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="must name one or more of last, mean, max, attention, each once"):
        Pool(poolings, 4)
