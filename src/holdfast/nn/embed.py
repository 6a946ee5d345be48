"""Tokens to vectors, with the three dropouts that regularise a vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD_ID = 0
UNKNOWN_ID = 1


class TokenEmbedding(nn.Module):
    """A table of token vectors with word dropout, type dropout and embedding dropout.

    While training, a token becomes the unknown token with probability `word_dropout` (Iyyer et al.
    2015, *Deep Unordered Composition*), so that the network learns to read sentences with words it has never
    seen. Each row of the table is dropped with probability `type_dropout`: all occurrences of that word in
    the batch become zeros (the embedding dropout of AWD-LSTM, Merity et al. 2018; Gal & Ghahramani 2016).
    Then each number of each vector is dropped with probability `dropout`. What these two keep is scaled by
    1 / (1 - p).

    Args:
        size: number of token ids, padding (0) and unknown (1) included.
        width: numbers in a vector.
        dropout: probability of dropping one number.
        word_dropout: probability of replacing one token by the unknown token.
        type_dropout: probability of dropping one row of the table.
    """

    def __init__(
        self,
        size: int,
        width: int,
        *,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        type_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.type_dropout = type_dropout
        self.weight = nn.Parameter(torch.randn(size, width) * 0.1)
        with torch.no_grad():
            self.weight[PAD_ID] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors `[T, B, width]` of token ids `[T, B]` (int64)."""
        if self.training and self.word_dropout > 0:
            drop = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = torch.where(drop & (tokens != PAD_ID), UNKNOWN_ID, tokens)
        vectors = functional.embedding(tokens, self.weight, padding_idx=PAD_ID)
        if self.training and self.type_dropout > 0:
            kept = self.weight.new_ones(len(self.weight), 1)
            vectors = vectors * functional.dropout(kept, self.type_dropout)[tokens]
        return functional.dropout(vectors, self.dropout, self.training)

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Copy `vectors` `[size, k]`, k <= width, into the first k columns of the table."""
        self.weight[:, : vectors.shape[1]] = vectors.to(self.weight)
        self.weight[PAD_ID] = 0.0

    def extra_repr(self) -> str:
        size, width = self.weight.shape
        dropouts = ("dropout", "word_dropout", "type_dropout")
        return ", ".join([f"{size}, {width}", *(f"{name}={getattr(self, name)}" for name in dropouts)])
