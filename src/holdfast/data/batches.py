"""Batches by length: padding stays under a limit, and every epoch has its own order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from holdfast.errors import ConfigError, DataError

Lengths = Sequence[int] | npt.NDArray[np.integer]

PADDING_LIMIT = 0.08
BATCHES_PER_POOL = 100
LENGTH_NOISE = 0.02


def length_batches(
    lengths: Lengths, *, batch_size: int, seed: int, epoch: int, max_tokens: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Random batches of sequences of similar length, for one epoch of training.

    Random pools of 100 batches are sorted by slightly disturbed length and cut; the batches with the most
    padding are cut in two until the whole epoch has at most 8 % padding; then the batches are shuffled.

    Args:
        lengths: steps of each sequence, at least 1 each, `[N]`.
        batch_size: the most sequences in a batch.
        seed: of the whole training.
        epoch: counted from 0; (seed, epoch) decides everything.
        max_tokens: the most padded steps (sequences x longest) in a batch; a sequence that is longer by
            itself comes alone. None: no limit.

    Returns:
        Indices into `lengths`; every index occurs once.

    Raises:
        ConfigError: batch_size or max_tokens is below 1.
        DataError: there are no sequences, or one has no steps.
    """
    steps = _checked(lengths, batch_size, max_tokens)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(steps))
    noise = random.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(steps))
    pool_size = BATCHES_PER_POOL * batch_size
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(steps[pool] * noise[pool], kind="stable")]
        batches += _cut(pool, steps, batch_size, max_tokens)
    batches = _limit_padding(batches, steps)
    return [batches[index] for index in random.permutation(len(batches))]


def sequential_batches(
    lengths: Lengths, batch_size: int, max_tokens: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Batches for evaluation: shortest first, always the same.

    Results come in the order of `np.concatenate(batches)`: assign them to those indices to restore the order
    of the rows.

    Args:
        lengths: steps of each sequence, at least 1 each, `[N]`.
        batch_size: the most sequences in a batch.
        max_tokens: as in `length_batches`.

    Raises:
        ConfigError: batch_size or max_tokens is below 1.
        DataError: there are no sequences, or one has no steps.
    """
    steps = _checked(lengths, batch_size, max_tokens)
    return _cut(np.argsort(steps, kind="stable"), steps, batch_size, max_tokens)


def pad(
    sequences: Sequence[npt.NDArray[np.integer]], pad_id: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """One array from sequences of different length.

    Args:
        sequences: B arrays of token ids.
        pad_id: what fills the rest of each row.

    Returns:
        Tokens int64 `[B, T]` with T the longest length, and lengths int64 `[B]`.

    Raises:
        DataError: there are no sequences.
    """
    if not len(sequences):
        raise DataError("there are no sequences to put into a batch")
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.full((len(sequences), int(lengths.max())), pad_id, dtype=np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens, lengths


def padding_share(lengths: Lengths, batches: Sequence[npt.NDArray[np.integer]]) -> float:
    """The share of padded steps among all steps of these batches, 0 to 1."""
    steps = np.asarray(lengths)
    used = sum(int(steps[batch].sum()) for batch in batches)
    padded = sum(_padded(batch, steps) for batch in batches)
    return 1 - used / padded if padded else 0.0


def _checked(lengths: Lengths, batch_size: int, max_tokens: int | None) -> npt.NDArray[np.int64]:
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens}; it must be at least 1")
    steps = np.asarray(lengths, dtype=np.int64)
    if not len(steps):
        raise DataError("there are no sequences to put into batches")
    if steps.min() < 1:
        raise DataError(f"sequence {int(steps.argmin())} has {int(steps.min())} steps; each needs at least 1")
    return steps


def _cut(
    order: npt.NDArray[np.int64], steps: npt.NDArray[np.int64], batch_size: int, max_tokens: int | None
) -> list[npt.NDArray[np.int64]]:
    batches = []
    start, longest = 0, 0
    for at, length in enumerate(steps[order].tolist()):
        longest = max(longest, length)
        count = at - start + 1
        if at > start and (count > batch_size or (max_tokens is not None and count * longest > max_tokens)):
            batches.append(order[start:at])
            start, longest = at, length
    batches.append(order[start:])
    return batches


def _padded(batch: npt.NDArray[np.integer], steps: npt.NDArray[np.integer]) -> int:
    return len(batch) * int(steps[batch].max())


def _waste(batch: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> int:
    return _padded(batch, steps) - int(steps[batch].sum())


def _limit_padding(
    batches: list[npt.NDArray[np.int64]], steps: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    # The number breaks ties, so that arrays are never compared.
    heap = [(-_waste(batch, steps), number, batch) for number, batch in enumerate(batches)]
    heapq.heapify(heap)
    used, wasted, number = int(steps.sum()), -sum(entry[0] for entry in heap), len(heap)
    while wasted > PADDING_LIMIT * (used + wasted):
        negative_waste, _, batch = heapq.heappop(heap)
        wasted += negative_waste
        for half in _halves(batch, steps):
            waste = _waste(half, steps)
            wasted += waste
            heapq.heappush(heap, (-waste, number, half))
            number += 1
    return [batch for _, _, batch in sorted(heap, key=lambda entry: entry[1])]


def _halves(batch: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
    batch = batch[np.argsort(steps[batch], kind="stable")]
    lengths = steps[batch]
    # Cutting before position k leaves k rows as long as lengths[k - 1] and the rest as long as the last.
    cut = np.arange(1, len(batch))
    padded = cut * lengths[:-1] + (len(batch) - cut) * lengths[-1]
    best = 1 + int(padded.argmin())
    return batch[:best], batch[best:]
