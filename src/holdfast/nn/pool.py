"""A sequence of vectors to one vector: last, mean, max, attention, and their concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast.errors import ConfigError

POOLINGS = ("last", "mean", "max", "attention")


class Pool(nn.Module):
    """Poolings over time, concatenated in the order given; padding never takes part.

    - `last`: the forward direction after the last step and the reverse direction after step 0.
    - `mean`, `max`: over the valid steps.
    - `attention`: a learned softmax weight per step (Lin et al. 2017 with one hop).

    Args:
        poolings: names out of `POOLINGS`, each at most once.
        width: features of a step, F.
        directions: D; the features are D equal blocks.

    Raises:
        ConfigError: a name is unknown or repeated, or there is none.
    """

    def __init__(self, poolings: Sequence[str], width: int, *, directions: int = 1) -> None:
        super().__init__()
        unknown = [name for name in poolings if name not in POOLINGS]
        if unknown or not poolings or len(set(poolings)) < len(poolings):
            raise ConfigError(
                f"pooling is {list(poolings)}; it must name one or more of {', '.join(POOLINGS)}, each once"
            )
        self.poolings = tuple(poolings)
        self.directions = directions
        self.out_features = width * len(self.poolings)
        self.query = nn.Linear(width, 1) if "attention" in self.poolings else None

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """One vector each, `[B, out_features]`, of sequences `output` `[T, B, F]`, `lengths` `[B]` >= 1."""
        steps = torch.arange(output.shape[0], device=output.device)[:, None, None]
        valid = steps < lengths[None, :, None]  # [T, B, 1]
        pooled = [getattr(self, "_" + name)(output, lengths, valid) for name in self.poolings]
        return torch.cat(pooled, dim=-1)

    def _last(self, output: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
        forward_width = output.shape[2] // self.directions
        rows = torch.arange(output.shape[1], device=output.device)
        ends = output[lengths - 1, rows, :forward_width]
        return torch.cat([ends, output[0, :, forward_width:]], dim=-1)

    def _mean(self, output: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid, output, 0.0).sum(0) / lengths[:, None]

    def _max(self, output: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid, output, -torch.inf).amax(0)

    def _attention(self, output: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
        assert self.query is not None
        read = torch.where(valid, output, 0.0)
        weight = torch.where(valid, self.query(read), -torch.inf).softmax(0)  # [T, B, 1]
        return (weight * read).sum(0)

    def extra_repr(self) -> str:
        return " + ".join(self.poolings)
