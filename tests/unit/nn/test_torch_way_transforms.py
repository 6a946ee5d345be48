"""The PyTorch way: the transforms of torch.func, over samples, over weights, and on top of each other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from layer_kinds import call_of, each_kind, each_kind_and_call, layer_of, loss_of, seeded
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, jacrev, stack_module_state, vjp, vmap
from torch.testing import assert_close

from holdfast.nn.lstm_cell import LSTMCell

T, B, I, H = 5, 4, 3, 2  # noqa: E741 - the letters of holdfast.notation
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def parameters_of(layer: nn.Module) -> dict[str, Tensor]:
    return {name: own.detach() for name, own in layer.named_parameters()}


def loss(layer: nn.Module, own: dict[str, Tensor], x: Tensor, **keywords: Tensor) -> Tensor:
    return loss_of(functional_call(layer, own, (x,), keywords))


def made(kind: str, **options: Any) -> nn.Module:
    return layer_of(kind, I, H, 2, bidirectional=True, dtype=torch.float64, **options)


@each_kind_and_call
def test_grad_equals_autograd(kind: str, name: str) -> None:
    layer, x = made(kind), torch.randn(T, B, I, dtype=torch.float64)
    keywords = call_of(name, T, B)
    found, value = seeded(grad_and_value(lambda own: loss(layer, own, x, **keywords)))(parameters_of(layer))
    expected_value = seeded(lambda: loss_of(layer(x, **keywords)))()
    expected = torch.autograd.grad(expected_value, list(layer.parameters()))
    assert_close(value, expected_value.detach(), **EXACT)
    assert_close(list(found.values()), list(expected), **EXACT)


@each_kind
def test_vjp_of_many_upstreams_at_once_equals_autograd(kind: str) -> None:
    layer, x = made(kind), torch.randn(T, B, I, dtype=torch.float64)
    output, pull = vjp(seeded(lambda x: layer(x)[0]), x)
    upstream = torch.randn(3, *output.shape, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    again = seeded(layer)(leaf)[0]
    expected = [torch.autograd.grad(again, leaf, one, retain_graph=True)[0] for one in upstream]
    assert_close(vmap(pull)(upstream)[0], torch.stack(expected), **EXACT)


@each_kind_and_call
def test_vmap_of_grad_over_samples_equals_a_loop(kind: str, name: str) -> None:
    layer, own = made(kind), None
    x, keywords = torch.randn(T, B, I, dtype=torch.float64), call_of(name, T, B)
    own = parameters_of(layer)

    def of_one(x: Tensor, keywords: dict[str, Tensor]) -> Any:
        one = {key: value.unsqueeze(-1) for key, value in keywords.items()}
        return grad(lambda own: loss(layer, own, x.unsqueeze(1), **one))(own)

    axes = {key: value.dim() - 1 for key, value in keywords.items()}
    found = seeded(vmap(of_one, in_dims=(1, axes), randomness="same"))(x, keywords)
    each = [
        seeded(of_one)(x[:, b], {key: value[..., b] for key, value in keywords.items()}) for b in range(B)
    ]
    for key in own:
        assert_close(found[key], torch.stack([one[key] for one in each]), **EXACT)


def test_vmap_over_sequences_without_a_batch_axis() -> None:
    layer, x = made("peephole"), torch.randn(T, B, I, dtype=torch.float64)
    found, state = vmap(layer, in_dims=1, out_dims=1)(x)
    expected, expected_state = layer(x)
    assert_close(found, expected, **EXACT)
    assert_close(list(state), list(expected_state), **EXACT)


@each_kind_and_call
def test_vmap_over_stacked_weights_equals_a_loop(kind: str, name: str) -> None:
    layers = [made(kind) for _ in range(3)]
    x, keywords = torch.randn(T, B, I, dtype=torch.float64), call_of(name, T, B)
    own, buffers = stack_module_state(layers)  # type: ignore[arg-type]
    empty = copy.deepcopy(layers[0]).to("meta")

    def call(own: dict[str, Tensor], buffers: dict[str, Tensor]) -> Any:
        return functional_call(empty, (own, buffers), (x,), keywords)

    output, state = seeded(vmap(call, randomness="same"))(own, buffers)
    expected = [seeded(layer)(x, **keywords) for layer in layers]
    assert_close(output, torch.stack([one[0] for one in expected]), **EXACT)
    for k, part in enumerate(state):
        assert_close(part, torch.stack([one[1][k] for one in expected]), **EXACT)


def test_an_ensemble_is_trained_at_once() -> None:
    layers = [made("layernorm") for _ in range(3)]
    x = torch.randn(T, B, I, dtype=torch.float64)
    own, _ = stack_module_state(layers)  # type: ignore[arg-type]
    found = vmap(grad(lambda own: loss(layers[0], own, x)))(
        {key: value.detach() for key, value in own.items()}
    )
    for k, layer in enumerate(layers):
        expected = torch.autograd.grad(loss_of(layer(x)), list(layer.parameters()))
        assert_close([gradient[k] for gradient in found.values()], list(expected), **EXACT)


@pytest.mark.parametrize("cell", ["lstm", "layernorm"])
def test_a_single_cell_is_transformed(cell: str) -> None:
    single = LSTMCell(I, H, cell=cell, dtype=torch.float64)
    x, own = torch.randn(B, I, dtype=torch.float64), parameters_of(single)

    def of_one(x: Tensor) -> Any:
        return grad(lambda own: functional_call(single, own, (x,))[0].sum())(own)

    found = vmap(of_one)(x)
    for b in range(B):
        expected = torch.autograd.grad(single(x[b])[0].sum(), list(single.parameters()))
        assert_close([gradient[b] for gradient in found.values()], list(expected), **EXACT)


def test_each_sample_may_have_its_own_random_numbers() -> None:
    layer = made("modified")
    x = torch.randn(T, 1, I, dtype=torch.float64).expand(T, B, I)
    found = vmap(lambda x: layer(x)[0], in_dims=1, randomness="different")(x)
    assert not torch.equal(found[0], found[1])


@each_kind
def test_jacobian_and_hessian_equal_those_of_autograd(kind: str) -> None:
    layer = layer_of(kind, 2, 2, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    output = seeded(lambda x: layer(x)[0])
    assert_close(jacrev(output)(x), torch.autograd.functional.jacobian(output, x), **EXACT)
    number = seeded(lambda x: loss_of(layer(x)))
    assert_close(jacrev(jacrev(number))(x), torch.autograd.functional.hessian(number, x), **EXACT)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@each_kind
def test_vmap_of_grad_on_cuda(kind: str) -> None:
    layer = made(kind, device="cuda")
    x = torch.randn(T, B, I, dtype=torch.float64, device="cuda")

    def of_one(x: Tensor) -> Any:
        return grad(lambda own: loss(layer, own, x.unsqueeze(1)))(parameters_of(layer))

    found = seeded(vmap(of_one, in_dims=1, randomness="same"))(x)
    each = [seeded(of_one)(x[:, b]) for b in range(B)]
    for key, value in found.items():
        assert_close(value, torch.stack([one[key] for one in each]), **EXACT)
