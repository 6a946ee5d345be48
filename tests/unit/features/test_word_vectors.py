"""The start of the token vectors: ratios and neighbours by hand, and small vocabularies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from holdfast.features.word_vectors import (
    CONTEXT_SMOOTHING,
    NEIGHBOURS,
    RATIO_SCALE,
    VECTOR_SCALE,
    class_ratios,
    cooccurrence_vectors,
    start_vectors,
)

Array = np.ndarray[Any, Any]


def ids(*texts: list[int]) -> list[Array]:
    return [np.array(text, np.int32) for text in texts]


def information(sequences: list[Array], size: int) -> Array:
    """Positive pointwise mutual information with a loop over every pair."""
    counts = np.zeros((size, size))
    for sequence in sequences:
        for i, left in enumerate(sequence):
            for j, right in enumerate(sequence):
                if i != j and abs(i - j) <= NEIGHBOURS and left > 0 and right > 0:
                    counts[left, right] += 1 / abs(i - j)
    total = counts.sum(1)
    context = total**CONTEXT_SMOOTHING
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(counts * context.sum() / np.outer(total, context)), 0))


def test_class_ratios_by_hand() -> None:
    sequences = ids([2, 2, 3], [2, 1], [3, 4, 3])
    decided = np.array([[True], [True], [False]])
    ratios = class_ratios(sequences, decided, 6)
    # each text counts a token once: p = 1 + (0, 1, 2, 1, 0, 0) of 10, q = 1 + (0, 0, 0, 1, 1, 0) of 8
    expected = [
        math.log((3 / 10) / (1 / 8)),
        math.log(8 / 10),
        math.log((1 / 10) / (2 / 8)),
        math.log(8 / 10),
    ]
    np.testing.assert_allclose(ratios[2:, 0], expected, rtol=1e-6)
    assert (ratios[:2] == 0).all()


def test_class_ratios_of_each_decision() -> None:
    sequences, decided = ids([2], [3], [2, 3]), np.array([[True, False], [False, True], [False, False]])
    ratios = class_ratios(sequences, decided, 4)
    assert ratios.shape == (4, 2)
    np.testing.assert_array_equal(ratios[2], ratios[3][::-1])
    assert ratios[2, 0] > 0 > ratios[3, 0]


def test_vectors_explain_the_information() -> None:
    generator = np.random.default_rng(0)
    sequences = [generator.integers(1, 8, generator.integers(1, 12)).astype(np.int32) for _ in range(30)]
    vectors = cooccurrence_vectors(sequences, 9, 8).astype(np.float64)
    assert vectors.std() == pytest.approx(VECTOR_SCALE, rel=1e-5)
    left, values, _ = np.linalg.svd(information(sequences, 9))
    expected = (left * values) @ left.T  # V V' for V = left sqrt(values)
    products = vectors @ vectors.T
    # float32, and n_iter=3 of the randomised algorithm; the first singular value is far from 0
    np.testing.assert_allclose(products / products.max(), expected / expected.max(), atol=1e-4)


def test_tokens_of_two_texts_are_never_neighbours() -> None:
    assert cooccurrence_vectors(ids([2, 3, 4]), 5, 4).any()
    assert not cooccurrence_vectors(ids([2], [3], [4]), 5, 4).any()


def test_neighbours_are_at_most_five_apart() -> None:
    far, near = ids([2, 0, 0, 0, 0, 0, 3]), ids([2, 0, 0, 0, 0, 3])
    assert not cooccurrence_vectors(far, 4, 3).any()
    assert cooccurrence_vectors(near, 4, 3).any()


def test_padding_has_no_vector() -> None:
    vectors = cooccurrence_vectors(ids([2, 0, 3, 2, 3], [3, 2, 1]), 4, 3)
    assert np.abs(vectors[0]).max() < 1e-6


@pytest.mark.parametrize(
    ("size", "width", "decisions", "columns"),
    [(4, 16, 1, 4), (4, 3, 1, 3), (30, 8, 2, 8), (30, 3, 2, 3), (2, 16, 1, 2)],
)
def test_shape_of_the_start(size: int, width: int, decisions: int, columns: int) -> None:
    generator = np.random.default_rng(1)
    sequences = [generator.integers(1, size, 9).astype(np.int32) for _ in range(12)]
    decided = generator.random((12, decisions)) < 0.5
    start = start_vectors(sequences, decided, size, width)
    assert start.shape == (size, columns)
    assert start.dtype == np.float32
    assert np.isfinite(start).all()
    if width >= 2 * decisions:
        ratios = class_ratios(sequences, decided, size) * RATIO_SCALE
        np.testing.assert_array_equal(start[:, :decisions], ratios)


def test_the_same_texts_give_the_same_bits() -> None:
    generator = np.random.default_rng(2)
    sequences = [generator.integers(1, 40, 15).astype(np.int32) for _ in range(40)]
    one, two = (cooccurrence_vectors(sequences, 40, 12) for _ in range(2))
    assert one.tobytes() == two.tobytes()
