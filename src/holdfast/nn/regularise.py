"""Regularisers for sequences."""

from __future__ import annotations

from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Dropout with one mask per sequence: what is dropped stays dropped at every time step.

    Gal & Ghahramani 2016, *A Theoretically Grounded Application of Dropout in Recurrent Neural Networks*;
    placed between layers as in AWD-LSTM (Merity et al. 2018).

    Time is the first axis, `[T, B, I]`: a batch-first x would get one mask for the batch, new in each step.

    Args:
        p: probability of dropping a feature for the whole sequence.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x `[T, B, I]` with features dropped, the rest scaled by 1 / (1 - p); x itself at evaluation."""
        if not self.training or self.p == 0:
            return x
        mask = x.new_empty(1, *x.shape[1:]).bernoulli_(1 - self.p).div_(1 - self.p)
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"
