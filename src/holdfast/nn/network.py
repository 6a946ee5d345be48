"""The LSTM part of a text classifier: embed, encode, pool, decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.nn.embed import TokenEmbedding
from holdfast.nn.encoder import Encoder
from holdfast.nn.pool import Pool
from holdfast.options import Options, option

MOST_UNITS = 65_536
Pooling = Literal["last", "mean", "max", "attention"]


@dataclass(frozen=True)
class NetworkOptions(Options):
    """The shape and the dropouts of the LSTM part."""

    cell: str = option(
        "lstm", "the recurrent cell: lstm, peephole, coupled, layernorm, rnn, ... (docs/layer.md has all)"
    )
    embedding: int = option(128, "numbers in a token's vector", at_least=1, at_most=MOST_UNITS)
    hidden: int = option(128, "hidden units of each direction and layer", at_least=1, at_most=MOST_UNITS)
    layers: int = option(1, "stacked LSTM layers", at_least=1, at_most=16)
    bidirectional: bool = option(True, "also read from the end to the start")
    pooling: tuple[Pooling, ...] = option(("max", "mean"), "how steps become one vector; concatenated")
    word_dropout: float = option(0.1, "share of words replaced by the unknown word", at_least=0, at_most=0.99)
    embedding_dropout: float = option(
        0.5, "dropout on the numbers of a token's vector", at_least=0, at_most=0.99
    )
    type_dropout: float = option(
        0.0, "dropout of whole words from the table, as in AWD-LSTM", at_least=0, at_most=0.99
    )
    input_dropout: float = option(
        0.0, "locked dropout on the input of the first layer", at_least=0, at_most=0.99
    )
    layer_dropout: float = option(0.3, "locked dropout between stacked layers", at_least=0, at_most=0.99)
    weight_drop: float = option(0.0, "dropout on the recurrent weights", at_least=0, at_most=0.99)
    output_dropout: float = option(0.5, "dropout before the classes", at_least=0, at_most=0.99)
    window: int = option(
        512, "tokens after which the gradient is cut; the state is carried on", at_least=2, at_most=2**31
    )
    recompute: int = option(
        0,
        "keep the state every so many tokens and compute the rest twice: less memory; 0 keeps all",
        at_least=0,
        at_most=2**31,
    )


class TextNetwork(nn.Module):
    """Token ids to class logits.

    Args:
        vocabulary: number of token ids, padding and unknown included.
        classes: number of classes, K.
        options: the shape and the dropouts.
    """

    def __init__(self, vocabulary: int, classes: int, options: NetworkOptions) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            vocabulary,
            options.embedding,
            dropout=options.embedding_dropout,
            word_dropout=options.word_dropout,
            type_dropout=options.type_dropout,
        )
        self.encoder = Encoder(
            options.embedding,
            options.hidden,
            layers=options.layers,
            bidirectional=options.bidirectional,
            cell=options.cell,
            dropouts=(options.input_dropout, options.layer_dropout),
            weight_drop=options.weight_drop,
            window=options.window,
            recompute=options.recompute or None,
        )
        self.pool = Pool(
            options.pooling, self.encoder.out_features, directions=2 if options.bidirectional else 1
        )
        self.dropout = nn.Dropout(options.output_dropout)
        self.head = nn.Linear(self.pool.out_features, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits `[B, K]` of token ids `[T, B]` (int64) with `lengths` `[B]` >= 1."""
        return self._decide(self.encoder(self.embedding(tokens), lengths), lengths)

    def scores(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits `[B, K]` of token vectors `x` `[T, B, I]`, with the gradient of the whole of each text."""
        return self._decide(self.encoder(x, lengths, cut=False), lengths)

    def _decide(self, output: Tensor, lengths: Tensor) -> Tensor:
        return self.head(self.dropout(self.pool(output, lengths)))  # type: ignore[no-any-return]

    @torch.no_grad()
    def trace(self, tokens: Tensor) -> dict[str, NDArray[np.float32]]:
        """Every named value of the cell while one text `[T, 1]` is read, as `[L, D, T, H]`, at evaluation."""
        self.eval()
        x = self.embedding(tokens)
        return {name: value[:, :, :, 0].numpy() for name, value in self.encoder.trace(x).items()}
