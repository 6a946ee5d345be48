"""Text to token ids: a tokeniser that is fitted on the training split and saved with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from holdfast.errors import ConfigError, DataError, ModelFileError
from holdfast.features import token_file
from holdfast.features.characters import CharacterEncoder, frequent_characters
from holdfast.features.token_file import MAX_VOCABULARY, PAD, UNKNOWN
from holdfast.features.word_pieces import PieceEncoder, byte_pairs, frequent_words
from holdfast.options import Options, option

Level = Literal["word", "character", "bpe"]


@dataclasses.dataclass(frozen=True)
class TokenOptions(Options):
    """How text is cut into tokens."""

    level: Level = option("word", "what a token is: word, character, or bpe (byte-pair pieces of words)")
    lowercase: bool = option(True, "whether upper and lower case are the same")
    vocabulary: int = option(
        30000, "the most tokens kept, padding and unknown included", at_least=3, at_most=MAX_VOCABULARY
    )
    min_count: int = option(2, "how often a token must occur in the training texts to be kept", at_least=1)
    max_tokens: int | None = option(None, "texts are cut after this many tokens; none: never cut", at_least=1)

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise ConfigError(f"level is {self.level!r}; it must be one of {', '.join(get_args(Level))}")
        super().__post_init__()


class Tokeniser:
    """Turns texts into token ids; immutable once fitted.

    Id 0 is padding, id 1 an unknown token; the others follow by falling frequency in the training texts and
    then by text (byte-pair level: the characters, then the merges in order). The same texts and options
    give the same tokeniser, in any order of the texts.
    """

    pad_id: ClassVar[int] = 0
    unknown_id: ClassVar[int] = 1

    def __init__(
        self, options: TokenOptions, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]
    ) -> None:
        self.options = options
        self._tokens = list(vocabulary)
        self._merges = list(merges)
        if options.level == "character":
            self._encoder: CharacterEncoder | PieceEncoder = CharacterEncoder(
                self._tokens, self.unknown_id, options.lowercase
            )
        else:
            pairs = self._merges if options.level == "bpe" else None
            self._encoder = PieceEncoder(self._tokens, pairs, options.lowercase)

    @classmethod
    def fit(cls, texts: Sequence[str], options: TokenOptions | None = None) -> Tokeniser:
        """A tokeniser with the tokens of these texts: give it the training split only.

        Args:
            texts: the training texts.
            options: how to cut them; the defaults of TokenOptions when None.

        Raises:
            DataError: no token occurs often enough.
        """
        options = options or TokenOptions()
        most = options.vocabulary - 2
        merges: list[tuple[str, str]] = []
        if options.level == "character":
            tokens = frequent_characters(texts, options.lowercase, options.min_count, most)
        elif options.level == "word":
            tokens = frequent_words(texts, options.lowercase, options.min_count, most)
        else:
            tokens, merges = byte_pairs(texts, options.lowercase, options.min_count, most)
        if not tokens:
            raise DataError(
                f"the {len(texts)} training texts have no {options.level} that occurs at least "
                f"{options.min_count} times: give more text, or a smaller min_count"
            )
        return cls(options, [PAD, UNKNOWN, *tokens], merges)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token and its id."""
        return {token: index for index, token in enumerate(self._tokens)}

    @property
    def size(self) -> int:
        """How many ids there are, padding and unknown included."""
        return len(self._tokens)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text, int32 `[T]` with T at least 1: a text without tokens is one unknown token.

        Texts longer than `options.max_tokens` are cut; `encode_counting` says how many.
        """
        return self.encode_counting(texts)[0]

    def encode_counting(self, texts: Sequence[str]) -> tuple[list[npt.NDArray[np.int32]], int]:
        """As `encode`, with the number of texts that were cut at `options.max_tokens`."""
        most = self.options.max_tokens
        empty = np.array([self.unknown_id], dtype=np.int32)
        encoded = [ids if len(ids) else empty for ids in self._encoder.encode(texts)]
        if most is None:
            return encoded, 0
        # A copy, so that a cut text does not keep the whole one in memory.
        return (
            [ids[:most].copy() if len(ids) > most else ids for ids in encoded],
            sum(len(ids) > most for ids in encoded),
        )

    def tokens(self, text: str) -> list[str]:
        """The pieces of a text as a person reads them, one for each id that `encode` gives."""
        return (self._encoder.pieces(text) or [UNKNOWN])[: self.options.max_tokens]

    def to_json(self) -> str:
        """The tokeniser as JSON text: the same characters for the same tokeniser."""
        return token_file.write(dataclasses.asdict(self.options), self._tokens, self._merges)

    @classmethod
    def from_json(cls, content: str) -> Tokeniser:
        """The tokeniser that `to_json` wrote.

        Raises:
            ModelFileError: the text is damaged, hostile, of another format or version, or above a limit of
                `features/token_file.py`.
        """
        fields, vocabulary, merges = token_file.read(content)
        options = _options(fields)
        if len(vocabulary) > options.vocabulary:
            raise ModelFileError(
                f"tokenizer.json: {len(vocabulary):,} tokens, more than its own limit of "
                f"{options.vocabulary:,}"
            )
        if merges and options.level != "bpe":
            raise ModelFileError(f"tokenizer.json: has merges at level {options.level!r}; only bpe has them")
        return cls(options, vocabulary, merges)


def _options(fields: dict[str, Any]) -> TokenOptions:
    kinds: dict[str, tuple[type, ...]] = {
        "level": (str,),
        "lowercase": (bool,),
        "vocabulary": (int,),
        "min_count": (int,),
        "max_tokens": (int, type(None)),
    }
    if set(fields) != set(kinds):
        raise ModelFileError(f"tokenizer.json: options are {sorted(fields)}, expected {sorted(kinds)}")
    for name, allowed in kinds.items():
        if type(fields[name]) not in allowed:
            wanted = " or ".join(kind.__name__ for kind in allowed)
            raise ModelFileError(
                f"tokenizer.json: option {name} is a {type(fields[name]).__name__}, expected {wanted}"
            )
    try:
        return TokenOptions(**fields)
    except ConfigError as error:
        raise ModelFileError(f"tokenizer.json: {error}") from None
