"""Philox against the answers that its authors publish, and masks that depend on their place alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.cells.modifiers import CELL_DROPOUT, STATE_DROPOUT, ZONEOUT_C, ZONEOUT_H
from holdfast.kernels.masks import chosen, philox

ONES = "ffffffff"
# kat_vectors of Random123: counter, key, answer.
KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (f"{ONES} " * 4, f"{ONES} " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
T, B, UNITS = 7, 5, 11


def words(text: str) -> Any:
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


def mask(**changes: Any) -> Tensor:
    call: dict[str, Any] = {
        "seed": torch.tensor(0x0123456789ABCDEF),
        "stream": ZONEOUT_H,
        "layer": 0,
        "direction": 0,
        "times": torch.arange(T),
        "batch": B,
        "units": UNITS,
        "probability": 0.5,
    }
    return chosen(**{**call, **changes})


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    assert philox(words(counter), words(key)) == words(answer)


def test_a_mask_is_read_from_the_counter_of_its_place() -> None:
    seed, place, threshold = -0x0FEDCBA987654321, (3 * 2 + 1) * 4 + CELL_DROPOUT, round(0.3 * 2**32)
    found = mask(seed=torch.tensor(seed), stream=CELL_DROPOUT, layer=3, direction=1, units=6, probability=0.3)
    key = torch.tensor(seed % 2**32), torch.tensor(seed // 2**32 % 2**32)
    for t, b, unit in [(0, 0, 0), (6, 4, 5), (2, 3, 4), (5, 1, 3)]:
        counter = tuple(map(torch.tensor, (unit // 4, b, t, place)))
        assert found[t, b, unit] == (philox(counter, key)[unit % 4] < threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.5, 0.9])
def test_each_unit_is_taken_with_its_probability(probability: float) -> None:
    found = mask(times=torch.arange(40), batch=50, units=60, probability=probability).double()
    for axes in [(0, 1, 2), (0, 1), (0, 2), (1, 2)]:
        mean = found.mean(axes)
        deviation = math.sqrt(probability * (1 - probability) * mean.numel() / found.numel())
        assert float((mean - probability).abs().max()) < 5 * deviation


@pytest.mark.parametrize("axis", range(3))
def test_neighbours_are_independent(axis: int) -> None:
    found = mask(times=torch.arange(40), batch=50, units=60).double() - 0.5
    length = found.size(axis) - 1
    products = found.narrow(axis, 0, length) * found.narrow(axis, 1, length)
    assert float(products.mean().abs()) < 5 * 0.25 / math.sqrt(products.numel())


@pytest.mark.parametrize("times", [torch.arange(T), torch.arange(T * B).view(T, B) % 4])
def test_a_mask_for_a_part_is_the_part_of_the_mask(times: Tensor) -> None:
    whole = mask(times=times)
    assert whole.shape == (T, B, UNITS)
    for units in (1, 3, 4, 5, 10):
        assert torch.equal(mask(times=times, units=units), whole[..., :units])
    assert torch.equal(mask(times=times[2:5]), whole[2:5])
    assert torch.equal(mask(times=times[:, :2] if times.dim() == 2 else times, batch=2), whole[:, :2])


def test_equal_steps_have_equal_masks() -> None:
    steps = torch.tensor([[0, 0], [0, 1], [2, 1], [2, 3]])
    whole, found = mask(times=torch.arange(4), batch=2), mask(times=steps, batch=2)
    assert all(torch.equal(found[t, b], whole[steps[t, b], b]) for t in range(4) for b in range(2))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": torch.tensor(0x0123456789ABCDEE)},
        {"seed": torch.tensor(0x0023456789ABCDEF)},
        {"seed": torch.tensor(0x0123456789ABCDEF - 2**63)},
        {"layer": 1},
        {"direction": 1},
        {"times": torch.arange(T) + 1},
        *({"stream": stream} for stream in (ZONEOUT_C, CELL_DROPOUT, STATE_DROPOUT)),
    ],
)
def test_every_part_of_the_counter_and_every_bit_of_the_seed_counts(changes: dict[str, Any]) -> None:
    different = (mask(**changes) != mask()).double().mean()
    assert abs(float(different) - 0.5) < 5 * 0.5 / math.sqrt(T * B * UNITS)


def test_the_ends_of_the_probability() -> None:
    assert not mask(probability=0.0).any()
    assert mask(probability=1.0).all()
    many = mask(times=torch.arange(100), batch=50, units=40, probability=1 - 1e-7)
    assert int((~many).sum()) <= 3


@pytest.mark.parametrize(("steps", "batch"), [(0, B), (T, 0)])
def test_nothing_is_drawn_for_nothing(steps: int, batch: int) -> None:
    assert mask(times=torch.arange(steps), batch=batch).shape == (steps, batch, UNITS)


def test_a_mask_can_be_drawn_for_many_seeds_at_once() -> None:
    seeds = torch.tensor([1, 2**40, -3])
    found = torch.vmap(lambda seed: mask(seed=seed))(seeds)
    assert torch.equal(found, torch.stack([mask(seed=seed) for seed in seeds]))


def test_a_compiled_mask_has_the_same_bits() -> None:
    torch._dynamo.reset()
    drawn = torch.compile(mask, fullgraph=True, backend="aot_eager", dynamic=True)
    seed = torch.tensor(2**62 + 12345)
    assert torch.equal(drawn(seed=seed), mask(seed=seed))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_mask_has_the_same_bits_on_cuda() -> None:
    assert torch.equal(mask(times=torch.arange(T, device="cuda")).cpu(), mask())
