"""The random masks of a call: one seed decides every bit, whatever the order in which they are drawn.

The generator is Philox4x32-10 (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3), which maps
a counter and a key to four words of 32 bits. The key is the seed; the counter says where the mask is used:

    (unit // 4, row b, step t, (layer * 2 + direction) * 4 + stream)   and unit % 4 picks the word

So a mask does not depend on T, B, the number of units or the backend.
"""

from __future__ import annotations

import torch
from torch import Tensor

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_WORD = 0xFFFFFFFF


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Philox4x32-10: four words from a counter of four words and a key of two.

    Args:
        counter: int64 tensors with values from 0 to 2**32 - 1, whose shapes broadcast.
        key: two more of the kind.

    Returns:
        The four words, int64 from 0 to 2**32 - 1, of the broadcast shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 holds the 64 bits of each product; only its sign is not that of the number.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            _high(product1) ^ c1 ^ k0,
            product1 & _WORD,
            _high(product0) ^ c3 ^ k1,
            product0 & _WORD,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def _high(product: Tensor) -> Tensor:
    return (product >> 32) & _WORD


def chosen(  # noqa: PLR0917 - the seed and the place, as in the counter
    seed: Tensor,
    stream: int,
    layer: int,
    direction: int,
    times: Tensor,
    batch: int,
    units: int,
    probability: float,
) -> Tensor:
    """Which units a mask takes: each with that probability, independently of the others.

    Args:
        seed: 0-dim int64, all 64 bits count.
        stream: what the mask is for, 0 to 3: `Draw.stream`, the last two bits of the counter.
        layer: from 0.
        direction: 0 forward, 1 reverse.
        times: int64 `[T]` or `[T, B]`, the step that each mask belongs to; equal steps have equal masks.
        batch: B.
        units: the width of the masked value.
        probability: from 0 to 1, rounded to a multiple of 2**-32.

    Returns:
        bool `[T, B, units]`, on the device of `times`.
    """
    device = times.device
    seed = seed.to(device)
    blocks = torch.arange((units + 3) // 4, device=device)
    rows = torch.arange(batch, device=device).unsqueeze(-1)
    steps = (times.unsqueeze(-1) if times.dim() == 1 else times).unsqueeze(-1)
    place = torch.full((), (layer * 2 + direction) * 4 + stream, dtype=torch.int64, device=device)
    words = philox((blocks, rows, steps & _WORD, place), (seed & _WORD, (seed >> 32) & _WORD))
    drawn = torch.stack(words, dim=-1).flatten(-2)[..., :units]
    return drawn < round(probability * 2**32)
