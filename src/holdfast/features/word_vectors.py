"""Where token vectors start: what the training texts themselves say about each token.

Two facts are cheap to compute and hard for a recurrent network to find from few texts: which
tokens stand in each other's place, and which tokens go with which class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import require
from holdfast.features.ngrams import Decisions

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 5
CONTEXT_SMOOTHING = 0.75
VECTOR_SCALE = 0.1
RATIO_SCALE = 0.3
FIRST_TOKEN = 2


def start_vectors(
    sequences: Sequence[NDArray[np.integer]], decided: Decisions, size: int, width: int
) -> NDArray[np.float32]:
    """The start of a token table: K' columns of class log-count ratios, the rest co-occurrence vectors.

    Args:
        sequences: token ids of the N training texts; 0 is padding, 1 the unknown token.
        decided: `ngrams.decisions` of their labels, `[N, K']`.
        size: number of token ids.
        width: columns wanted. With fewer than 2 K' columns the ratios are left out.

    Returns:
        `[size, k]`, k <= width; a small vocabulary cannot fill every column.
    """
    ratios = class_ratios(sequences, decided, size) * RATIO_SCALE
    if width < 2 * ratios.shape[1]:
        return cooccurrence_vectors(sequences, size, width)
    vectors = cooccurrence_vectors(sequences, size, width - ratios.shape[1])
    return np.concatenate([ratios, vectors], axis=1)


def class_ratios(
    sequences: Sequence[NDArray[np.integer]], decided: Decisions, size: int
) -> NDArray[np.float32]:
    """The naive Bayes log-count ratio `[size, K']` of each token for each decision, 0 for padding, unknown.

    Each text counts a token once (Wang & Manning 2012).
    """
    present = [np.unique(sequence) for sequence in sequences]
    tokens = np.concatenate(present)
    text = np.repeat(np.arange(len(present)), [len(unique) for unique in present])
    ratios = np.zeros((size, decided.shape[1]), np.float32)
    for k, column in enumerate(decided.T):
        positive = 1.0 + np.bincount(tokens[column[text]], minlength=size)
        negative = 1.0 + np.bincount(tokens[~column[text]], minlength=size)
        ratios[:, k] = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    ratios[:FIRST_TOKEN] = 0.0
    return ratios


def cooccurrence_vectors(
    sequences: Sequence[NDArray[np.integer]], size: int, width: int
) -> NDArray[np.float32]:
    """Vectors `[size, k]`, k = min(width, size - 1), whose products say which tokens stand near each other.

    The positive pointwise mutual information of tokens at most 5 apart, weighted by 1 / distance, contexts
    smoothed by the power 0.75, factorised by a truncated SVD with the square root of the singular values:
    Levy, Goldberg & Dagan 2015, *Improving Distributional Similarity*. Scaled to a standard deviation of 0.1.
    """
    sparse = require("scipy.sparse", "train", "co-occurrence vectors")
    svd = require("sklearn.utils.extmath", "train", "co-occurrence vectors").randomized_svd
    counts = _neighbour_counts(sequences, size)
    total = np.asarray(counts.sum(1)).ravel()
    context = total**CONTEXT_SMOOTHING
    counts = counts.tocoo()
    information = np.log(counts.data * context.sum() / (total[counts.row] * context[counts.col]))
    kept = information > 0
    positive = sparse.coo_matrix(
        (information[kept], (counts.row[kept], counts.col[kept])), shape=(size, size)
    ).tocsr()
    width = min(width, size - 1)
    left, values, _ = svd(positive, width, n_iter=3, random_state=0)
    vectors = left * np.sqrt(values)
    return np.asarray(vectors * (VECTOR_SCALE / (vectors.std() + 1e-12)), np.float32)


def _neighbour_counts(sequences: Sequence[NDArray[np.integer]], size: int) -> csr_matrix:
    """`[size, size]` symmetric counts of tokens near each other, never across two texts."""
    sparse = require("scipy.sparse", "train", "co-occurrence vectors")
    gap = np.zeros(NEIGHBOURS, np.int64)
    stream = np.concatenate([part for sequence in sequences for part in (sequence, gap)])
    counts = sparse.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, NEIGHBOURS + 1):
        left, right = stream[:-distance], stream[distance:]
        real = (left > 0) & (right > 0)
        weight = np.full(int(real.sum()), 1.0 / distance)
        counts = counts + sparse.coo_matrix((weight, (left[real], right[real])), shape=(size, size)).tocsr()
    return counts + counts.T
