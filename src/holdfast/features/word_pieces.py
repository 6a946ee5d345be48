"""Words and byte-pair pieces: the one file that uses the `tokenizers` library.

A word keeps its letters and digits together; a contraction becomes two tokens as in the Penn Treebank
(`do` `n't`, `it` `'s`); a run of dots is one token, every other sign is a token of its own; scripts written
without spaces are split into characters.

Byte-pair encoding (Sennrich, Haddow and Birch 2016) merges characters inside such words; `▁` marks a piece
that follows white space.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.errors import require
from holdfast.features.plain_text import normalise
from holdfast.features.token_file import MAX_TOKEN_CHARACTERS, UNKNOWN

SPACE = "▁"
_WORD = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
    r"|[\p{L}\p{M}]+?(?=n't(?!\p{L}))"
    r"|n't(?!\p{L})"
    r"|'(?:s|m|d|re|ve|ll)(?![\p{L}\p{N}])"
    r"|\p{N}+(?:[.,:]\p{N}+)+(?![\p{L}\p{N}])"
    r"|[\p{L}\p{M}\p{N}]+"
    r"|\.{2,}"
    r"|[^\s\p{L}\p{N}]"
)
_MARKED_WORD = f"{SPACE}?(?:{_WORD})"
_TEXTS_PER_CHUNK = 1000
_MOST_THREADS = 4


def frequent_words(texts: Sequence[str], lowercase: bool, min_count: int, most: int) -> list[str]:
    """The most frequent words, by falling count and then by text."""
    library = _library()
    tokenizer = _tokenizer(library, library.models.WordLevel(unk_token=UNKNOWN), _WORD)
    trainer = library.trainers.WordLevelTrainer(vocab_size=most, min_frequency=min_count, show_progress=False)
    tokenizer.train_from_iterator((normalise(text, lowercase) for text in texts), trainer)
    words = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    return [word for word, _ in words if len(word) <= MAX_TOKEN_CHARACTERS]


def byte_pairs(
    texts: Sequence[str], lowercase: bool, min_count: int, most: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """The pieces (the alphabet, then the merged ones) and the merges in order."""
    library = _library()
    marked = [_mark_spaces(normalise(text, lowercase)) for text in texts]
    counts: Counter[str] = Counter()
    for text in marked:
        counts.update(text)
    frequent = [character for character, count in counts.items() if count >= min_count]
    alphabet = sorted(frequent, key=lambda character: (-counts[character], character))[:most]
    # The trainer breaks ties among rare characters at random, so they are removed here, by rule.
    removed = str.maketrans(dict.fromkeys(set(counts) - set(alphabet), ""))
    tokenizer = _tokenizer(library, library.models.BPE(), _MARKED_WORD)
    trainer = library.trainers.BpeTrainer(
        vocab_size=most,
        min_frequency=min_count,
        show_progress=False,
        max_token_length=MAX_TOKEN_CHARACTERS,
    )
    tokenizer.train_from_iterator((text.translate(removed) for text in marked), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in model["merges"]]


class PieceEncoder:
    """Encodes text into words or byte-pair pieces."""

    def __init__(
        self, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]] | None, lowercase: bool
    ) -> None:
        library = _library()
        ids = {token: index for index, token in enumerate(vocabulary)}
        if merges is None:
            model = library.models.WordLevel(ids, unk_token=UNKNOWN)
        else:
            model = library.models.BPE(ids, list(merges), unk_token=UNKNOWN, fuse_unk=True)
        self._lowercase = lowercase
        self._marks_spaces = merges is not None
        self._tokenizer = _tokenizer(library, model, _MARKED_WORD if self._marks_spaces else _WORD)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text."""
        chunks = [texts[at : at + _TEXTS_PER_CHUNK] for at in range(0, len(texts), _TEXTS_PER_CHUNK)]
        threads = min(_MOST_THREADS, os.cpu_count() or 1, len(chunks))
        if threads < 2:
            return [ids for chunk in chunks for ids in self._encode_chunk(chunk)]
        with ThreadPoolExecutor(threads) as pool:
            return [ids for chunk in pool.map(self._encode_chunk, chunks) for ids in chunk]

    def pieces(self, text: str) -> list[str]:
        """The tokens of one text, unknown ones included."""
        text = self._prepare(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            text[start:end] if token == UNKNOWN else token
            for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        ]

    def _encode_chunk(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        prepared = [self._prepare(text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(prepared, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def _prepare(self, text: str) -> str:
        text = normalise(text, self._lowercase)
        return _mark_spaces(text) if self._marks_spaces else text


def _library() -> ModuleType:
    # The library's own threads warn, and may hang, after a fork; ours do the same work.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return require("tokenizers", "train", "a tokeniser")


def _tokenizer(library: ModuleType, model: Any, pattern: str) -> Any:
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(pattern), "removed", invert=True)
    return tokenizer


def _mark_spaces(text: str) -> str:
    return SPACE + text.replace(" ", SPACE) if text else text
