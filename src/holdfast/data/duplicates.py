"""Texts that occur more than once: within one split, across splits, and with different labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def same_text_key(text: str) -> str:
    """What two texts share when they count as the same: the words, whatever the case and the white space."""
    return " ".join(text.casefold().split())


def text_groups(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each text, the same number for the same text; numbered by first occurrence, `[N]`."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(same_text_key(text), len(numbers)) for text in texts], dtype=np.int64)


def duplicated_in(texts: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the texts also occur among the others, bool `[N]`: to score with and without them."""
    known = {same_text_key(text) for text in others}
    return np.array([same_text_key(text) in known for text in texts], dtype=np.bool_)


def repeated(texts: Sequence[str]) -> list[list[int]]:
    """The indices of each text that occurs more than once, in order of first occurrence."""
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        places.setdefault(same_text_key(text), []).append(index)
    return [indices for indices in places.values() if len(indices) > 1]
