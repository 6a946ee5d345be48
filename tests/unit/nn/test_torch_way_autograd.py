"""The PyTorch way: first and second derivatives, kept graphs, checkpoints, and modes without graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_kinds import call_of, each_kind, each_kind_and_call, layer_of, loss_of, seeded
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

T, B, I, H = 4, 3, 2, 2  # noqa: E741 - the letters of holdfast.notation
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))

each_device = pytest.mark.parametrize("device", ["cpu", CUDA])


def as_function(layer: nn.Module, keywords: dict[str, Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """Input, two states and the parameters to output and states, with the same masks at each call."""
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, h: Tensor, c: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, own, strict=True))
        output, state = functional_call(layer, given, (x, (h, c)), keywords)
        return (output, *state)

    return seeded(function)


def leaves_of(layer: nn.Module, rows: int, device: str) -> list[Tensor]:
    shapes = [(T, B, I), (rows, B, H), (rows, B, H)]
    leaves = [torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True) for shape in shapes]
    return [*leaves, *layer.parameters()]


@each_kind_and_call
@each_device
def test_gradcheck(kind: str, name: str, device: str) -> None:
    layer = layer_of(kind, I, H, 2, bidirectional=True, dtype=torch.float64, device=device)
    keywords = {key: value.to(device) for key, value in call_of(name, T, B).items()}
    with torch.backends.cudnn.flags(enabled=False):
        assert gradcheck(as_function(layer, keywords), leaves_of(layer, 4, device), fast_mode=True)


@each_kind_and_call
@each_device
def test_gradgradcheck(kind: str, name: str, device: str) -> None:
    layer = layer_of(kind, I, H, 1, bidirectional=True, dtype=torch.float64, device=device)
    keywords = {key: value.to(device) for key, value in call_of(name, T, B).items()}
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN has no second derivative
        assert gradgradcheck(as_function(layer, keywords), leaves_of(layer, 2, device), fast_mode=True)


@each_kind_and_call
def test_a_kept_graph_gives_the_same_gradients_again(kind: str, name: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I)
    number = loss_of(layer(x, **call_of(name, T, B)))
    own = list(layer.parameters())
    first = torch.autograd.grad(number, own, retain_graph=True)
    second = torch.autograd.grad(number, own, retain_graph=True)
    assert_close(second, first, rtol=0, atol=0)
    third = torch.autograd.grad(number, own, create_graph=True)
    assert_close(third, first)


def test_a_graph_that_is_not_kept_is_gone() -> None:
    layer = layer_of("peephole", I, H)
    number = loss_of(layer(torch.randn(T, B, I)))
    number.backward()  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="second time"):
        number.backward()  # type: ignore[no-untyped-call]


@each_kind
def test_a_gradient_penalty_trains(kind: str) -> None:
    layer = layer_of(kind, I, H, 2, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(loss_of(layer(x)), x, create_graph=True)
        return slope.square().sum()

    found = torch.autograd.grad(seeded(penalty)(), layer.weight_hh_l0)[0]
    step, direction = 1e-6, torch.randn_like(layer.weight_hh_l0)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight_hh_l0.add_(direction, alpha=sign * step)
        values.append(seeded(penalty)().item())
        with torch.no_grad():
            layer.weight_hh_l0.sub_(direction, alpha=sign * step)
    assert (found * direction).sum().item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    layer = layer_of("layernorm", I, H, 2)
    for name, own in layer.named_parameters():
        own.requires_grad_("_l0" not in name)
    loss_of(layer(torch.randn(T, B, I))).backward()  # type: ignore[no-untyped-call]
    assert {name for name, own in layer.named_parameters() if own.grad is None} == {
        name for name, _ in layer.named_parameters() if "_l0" in name
    }


@each_kind_and_call
def test_a_checkpointed_call_equals_a_plain_one(kind: str, name: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I, requires_grad=True)
    keywords = call_of(name, T, B)
    own = [x, *layer.parameters()]
    again = seeded(lambda: checkpoint(layer, x, use_reentrant=False, **keywords))()
    found = torch.autograd.grad(loss_of(again), own)
    plain = seeded(layer)(x, **keywords)
    assert_close(found, torch.autograd.grad(loss_of(plain), own), rtol=0, atol=0)


@each_kind_and_call
def test_modes_without_a_graph(kind: str, name: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I)
    keywords = call_of(name, T, B)
    expected = seeded(layer)(x, **keywords)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            output, state = seeded(layer)(x, **keywords)
        assert not any(tensor.requires_grad for tensor in (output, *state))
        assert_close([output, *state], [expected[0].detach(), *(part.detach() for part in expected[1])])


def test_a_changed_parameter_is_noticed() -> None:
    layer = layer_of("peephole", I, H)
    number = loss_of(layer(torch.randn(T, B, I)))
    with torch.no_grad():
        layer.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        number.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["peephole", "layernorm"])
def test_gradients_add_up(kind: str) -> None:
    layer, x = layer_of(kind, I, H), torch.randn(T, B, I)

    def gradients() -> Any:
        return [own.grad.clone() for own in layer.parameters() if own.grad is not None]

    loss_of(layer(x)).backward()  # type: ignore[no-untyped-call]
    once = gradients()
    loss_of(layer(x)).backward()  # type: ignore[no-untyped-call]
    assert_close(gradients(), [2 * gradient for gradient in once])
