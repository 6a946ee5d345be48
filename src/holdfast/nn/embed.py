"""Tokens to vectors, with the two dropouts that regularise a vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD_ID = 0
UNKNOWN_ID = 1


class TokenEmbedding(nn.Module):
    """A table of token vectors with word dropout and embedding dropout.

    While training, a token becomes the unknown token with probability `word_dropout` (Iyyer et al.
    2015, *Deep Unordered Composition*), so that the network learns to read sentences with words it has never
    seen; then each number of each vector is dropped with probability `dropout`.

    Args:
        size: number of token ids, padding (0) and unknown (1) included.
        width: numbers in a vector.
        dropout: probability of dropping one number.
        word_dropout: probability of replacing one token by the unknown token.
    """

    def __init__(self, size: int, width: int, *, dropout: float = 0.0, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.weight = nn.Parameter(torch.randn(size, width) * 0.1)
        with torch.no_grad():
            self.weight[PAD_ID] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors `[T, B, width]` of token ids `[T, B]` (int64)."""
        if self.training and self.word_dropout > 0:
            drop = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = torch.where(drop & (tokens != PAD_ID), UNKNOWN_ID, tokens)
        vectors = functional.embedding(tokens, self.weight, padding_idx=PAD_ID)
        return functional.dropout(vectors, self.dropout, self.training)

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Copy `vectors` `[size, k]`, k <= width, into the first k columns of the table."""
        self.weight[:, : vectors.shape[1]] = vectors.to(self.weight)
        self.weight[PAD_ID] = 0.0

    def extra_repr(self) -> str:
        size, width = self.weight.shape
        return f"{size}, {width}, dropout={self.dropout}, word_dropout={self.word_dropout}"
