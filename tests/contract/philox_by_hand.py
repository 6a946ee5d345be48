"""Philox4x32-10 in plain integers (Salmon et al. 2011), and the masks that the contract draws from it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

WORD = 0xFFFFFFFF

# What a mask is for: the last two bits of the counter's fourth word.
ZONEOUT_H, ZONEOUT_C, CELL_DROPOUT, STATE_DROPOUT = range(4)


@cache
def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four random words."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second >> 32) ^ b ^ low, second & WORD, (first >> 32) ^ d ^ high, first & WORD
        low, high = (low + 0x9E3779B9) & WORD, (high + 0xBB67AE85) & WORD
    return a, b, c, d


def word(seed: int, layer: int, direction: int, t: int, b: int, unit: int, stream: int) -> int:
    """The one word that decides about one unit."""
    counter = (unit // 4, b, t, (layer * 2 + direction) * 4 + stream)
    return philox(counter, (seed & WORD, seed >> 32 & WORD))[unit % 4]


@cache
def mask(
    width: int, probability: float, seed: int, layer: int, direction: int, t: int, b: int, stream: int
) -> Tensor:
    """`[width]`, true with that probability: this unit is dropped, or keeps its old value."""
    below = round(probability * 2**32)
    return torch.tensor(
        [word(seed, layer, direction, t, b, unit, stream) < below for unit in range(width)], dtype=torch.bool
    )
