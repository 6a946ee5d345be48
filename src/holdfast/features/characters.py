"""Characters as tokens: a look-up table from code points to ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from holdfast.features.plain_text import normalise

CODE_POINTS = 0x110000


def frequent_characters(texts: Sequence[str], lowercase: bool, min_count: int, most: int) -> list[str]:
    """The most frequent characters, by falling count and then by code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalise(text, lowercase))
    kept = [character for character, count in counts.items() if count >= min_count]
    return sorted(kept, key=lambda character: (-counts[character], character))[:most]


class CharacterEncoder:
    """Encodes text character by character."""

    def __init__(self, vocabulary: Sequence[str], unknown_id: int, lowercase: bool) -> None:
        self._lowercase = lowercase
        self._table = np.full(CODE_POINTS, unknown_id, dtype=np.int32)
        for index, token in enumerate(vocabulary):
            if len(token) == 1:
                self._table[ord(token)] = index

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text."""
        return [self._table[self._code_points(text)] for text in texts]

    def pieces(self, text: str) -> list[str]:
        """The characters, as they are encoded."""
        return list(normalise(text, self._lowercase))

    def _code_points(self, text: str) -> npt.NDArray[np.uint32]:
        coded = normalise(text, self._lowercase).encode("utf-32-le")
        return np.frombuffer(coded, dtype=np.uint32)
