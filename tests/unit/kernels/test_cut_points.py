"""Cut points: their derivatives against autograd, and layer normalisation against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from holdfast.kernels import cut_points


def random(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


def test_normalise_is_layer_normalisation_over_all_parts() -> None:
    parts = random((3, 4), (3, 4))
    found = torch.cat(cut_points.normalise(parts), dim=1)
    joined = torch.cat(parts, dim=1)
    deviation = joined - joined.mean(1, keepdim=True)
    expected = deviation / (deviation.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shapes", [((3, 4),), ((3, 4), (3, 4)), ((2, 3, 4), (2, 3, 4), (2, 3, 4))])
def test_the_derivative_of_normalise(shapes: tuple[tuple[int, ...], ...]) -> None:
    parts, upstream = random(*shapes), random(*shapes)
    expected = torch.autograd.grad(cut_points.normalise(parts), parts, upstream)
    for own, wanted in zip(cut_points.normalise_backward(parts, upstream), expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-12, atol=1e-13)


def test_a_result_that_nothing_uses_has_the_gradient_0() -> None:
    parts = random((3, 4), (3, 4))
    (upstream,) = random((3, 4))
    expected = torch.autograd.grad(cut_points.normalise(parts)[0], parts, upstream)
    found = cut_points.normalise_backward(parts, (upstream, 0.0))
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-12, atol=1e-13)


def test_product_and_its_derivatives() -> None:
    (matrix,) = random((6, 8))
    parts, upstream = random((5, 4), (5, 4)), random((5, 3), (5, 3))
    results = cut_points.product(matrix, parts, 2)
    torch.testing.assert_close(torch.cat(results, dim=1), torch.cat(parts, dim=1) @ matrix.t())
    d_matrix, *d_parts = torch.autograd.grad(results, (matrix, *parts), upstream)
    torch.testing.assert_close(cut_points.outer(upstream, parts), d_matrix)
    for own, wanted in zip(cut_points.product_backward(matrix, upstream, 2), d_parts, strict=True):
        torch.testing.assert_close(own, wanted)


def test_a_block_of_a_product_that_nothing_uses_has_the_gradient_0() -> None:
    (matrix,) = random((6, 8))
    parts, (upstream,) = random((5, 4), (5, 4)), random((5, 3))
    d_matrix, *d_parts = torch.autograd.grad(
        cut_points.product(matrix, parts, 2)[1], (matrix, *parts), upstream
    )
    torch.testing.assert_close(cut_points.outer((0.0, upstream), parts), d_matrix)
    found = cut_points.product_backward(matrix, (0.0, upstream), 2)
    for own, wanted in zip(found, d_parts, strict=True):
        torch.testing.assert_close(own, wanted)
