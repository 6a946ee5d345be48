"""The cut points of the cells in torch: what sums over units, forward and backward.

Printed code calls these by name; parts and upstream gradients are tuples of tensors `[..., width]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5

Parts = tuple[Tensor, ...]


def normalise(parts: Parts) -> Parts:
    """The parts, joined, with mean 0 and variance 1 over their units."""
    joined = torch.cat(parts, dim=-1)
    return _apart(functional.layer_norm(joined, joined.shape[-1:], eps=EPSILON), parts)


def normalise_backward(parts: Parts, upstream: Sequence[Tensor | float]) -> Parts:
    """The gradient of `normalise` to each part."""
    joined, u = torch.cat(parts, dim=-1), _joined(upstream, parts)
    centred = joined - joined.mean(-1, keepdim=True)
    scale = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + EPSILON)
    y = centred * scale
    back = scale * (u - u.mean(-1, keepdim=True) - y * (u * y).mean(-1, keepdim=True))
    return _apart(back, parts)


def product(matrix: Tensor, parts: Parts, blocks: int) -> Parts:
    """`matrix` `[rows, columns]` times the joined parts, as that many blocks."""
    return functional.linear(torch.cat(parts, dim=-1), matrix).chunk(blocks, dim=-1)


def product_backward(matrix: Tensor, upstream: Sequence[Tensor | float], blocks: int) -> Parts:
    """The gradient of `product` to each of its parts."""
    return (_blocks(upstream) @ matrix).chunk(blocks, dim=-1)


def outer(upstream: Sequence[Tensor | float], parts: Parts) -> Tensor:
    """The gradient of `product` to its matrix, summed over all rows."""
    u, x = _blocks(upstream), torch.cat(parts, dim=-1)
    return u.flatten(0, -2).t() @ x.flatten(0, -2)


def _joined(upstream: Sequence[Tensor | float], parts: Parts) -> Tensor:
    """Results that nothing uses have the number 0 for a gradient."""
    pairs = zip(upstream, parts, strict=True)
    return torch.cat([u if isinstance(u, Tensor) else torch.full_like(x, u) for u, x in pairs], dim=-1)


def _blocks(upstream: Sequence[Tensor | float]) -> Tensor:
    """As `_joined`, of blocks that are all as wide as each other."""
    like = next(u for u in upstream if isinstance(u, Tensor))
    return _joined(upstream, (like,) * len(upstream))


def _apart(joined: Tensor, parts: Parts) -> Parts:
    apart: Parts = joined.split([part.shape[-1] for part in parts], dim=-1)
    return apart
