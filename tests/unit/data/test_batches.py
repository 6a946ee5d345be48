from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.batches import length_batches, pad, padding_share, sequential_batches
from holdfast.errors import ConfigError, DataError

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=300)


def long_tailed(count: int, seed: int = 0) -> np.ndarray:
    """Lengths like those of film reviews: median 174, 95 % below about 600, longest above 2,000."""
    random = np.random.default_rng(seed)
    return np.clip(random.lognormal(5.16, 0.75, count), 4, 2500).astype(np.int64)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 5), st.none() | st.integers(1, 2000))
def test_an_epoch_has_every_index_once(lengths: list[int], size: int, epoch: int, most: int | None) -> None:
    batches = length_batches(lengths, batch_size=size, seed=3, epoch=epoch, max_tokens=most)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert most is None or len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= most


@given(LENGTHS, st.integers(1, 40))
def test_padding_never_exceeds_its_limit(lengths: list[int], size: int) -> None:
    assert padding_share(lengths, length_batches(lengths, batch_size=size, seed=0, epoch=0)) < 0.1


@pytest.mark.parametrize(("count", "size"), [(200, 16), (1000, 16), (1000, 64), (10_000, 64), (10_000, 128)])
def test_batches_of_long_tailed_texts_stay_large(count: int, size: int) -> None:
    lengths = long_tailed(count)
    batches = length_batches(lengths, batch_size=size, seed=1, epoch=0)
    assert padding_share(lengths, batches) < 0.1
    # With few texts the long ones need small batches; with many, hardly any does.
    assert len(batches) <= (1.1 if count == 10_000 else 2) * count / size


def test_seed_and_epoch_decide_everything() -> None:
    lengths = long_tailed(1000)

    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in length_batches(lengths, batch_size=32, seed=seed, epoch=epoch)]

    assert drawn(1, 2) == drawn(1, 2)
    assert drawn(1, 2) != drawn(1, 3)
    assert drawn(1, 2) != drawn(2, 1)


def test_batches_differ_in_company_and_come_in_random_order() -> None:
    lengths = long_tailed(2000)
    epochs = [length_batches(lengths, batch_size=32, seed=0, epoch=epoch) for epoch in range(2)]
    company = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert len(company[0] & company[1]) < 0.05 * len(company[0])
    longest = [int(lengths[batch].max()) for batch in epochs[0]]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_long_texts_come_in_small_batches() -> None:
    batches = length_batches([10] * 64 + [5000], batch_size=32, seed=0, epoch=0, max_tokens=320)
    assert sorted(len(batch) for batch in batches) == [1, 32, 32]


def test_evaluation_batches_are_sorted_by_length() -> None:
    batches = sequential_batches([5, 1, 4, 2, 3], batch_size=2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 2], [0]]
    limited = sequential_batches([5, 1, 4, 2, 3], batch_size=5, max_tokens=9)
    assert [batch.tolist() for batch in limited] == [[1, 3, 4], [2], [0]]


def test_pad_fills_the_end_of_each_row() -> None:
    tokens, lengths = pad([np.array([3, 4, 5], np.int32), np.array([7], np.int32)], pad_id=9)
    assert tokens.tolist() == [[3, 4, 5], [7, 9, 9]]
    assert lengths.tolist() == [3, 1]
    assert tokens.dtype == lengths.dtype == np.int64


def test_padding_share_counts_padded_steps() -> None:
    assert padding_share([1, 3, 4], [np.array([0, 1]), np.array([2])]) == pytest.approx(2 / 10)
    assert padding_share([], []) == 0.0


def test_what_cannot_be_batched_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        length_batches([1], batch_size=0, seed=0, epoch=0)
    with pytest.raises(ConfigError, match="max_tokens is 0"):
        length_batches([1], batch_size=1, seed=0, epoch=0, max_tokens=0)
    with pytest.raises(DataError, match="no sequences"):
        sequential_batches([], 4)
    with pytest.raises(DataError, match="sequence 1 has 0 steps"):
        sequential_batches([3, 0], 4)
    with pytest.raises(DataError, match="no sequences"):
        pad([])
