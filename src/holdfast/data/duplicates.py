"""Texts that occur more than once: within one split, across splits, and with different labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from holdfast.features.plain_text import normalise


def same_text_key(text: str) -> str:
    """What two texts share when they count as the same: what a tokeniser reads, whatever the case."""
    return normalise(text, lowercase=True).casefold()


def text_groups(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each text, the same number for the same text; numbered by first occurrence, `[N]`."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(same_text_key(text), len(numbers)) for text in texts], dtype=np.int64)


def duplicated_in(texts: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the texts also occur among the others, bool `[N]`: to score with and without them."""
    known = {same_text_key(text) for text in others}
    return np.array([same_text_key(text) in known for text in texts], dtype=np.bool_)


def text_hashes(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """A 64-bit hash of what makes each text the same as another, `[N]`.

    Kept with a model so that it knows later which texts it has seen without keeping the texts themselves.
    """
    digests = [
        hashlib.blake2b(same_text_key(text).encode("utf-8", "replace"), digest_size=8) for text in texts
    ]
    return np.array(
        [int.from_bytes(digest.digest(), "big", signed=True) for digest in digests], dtype=np.int64
    )


def repeated(texts: Sequence[str]) -> list[list[int]]:
    """The indices of each text that occurs more than once, in order of first occurrence."""
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        places.setdefault(same_text_key(text), []).append(index)
    return [indices for indices in places.values() if len(indices) > 1]
