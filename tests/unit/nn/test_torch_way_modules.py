"""The PyTorch way: a layer is copied, pickled, saved and parametrised like any module."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_kinds import KINDS, layer_of, loss_of, seeded
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import orthogonal, weight_norm
from torch.testing import assert_close

from holdfast.nn.lstm import LSTM

T, B, I, H = 4, 3, 2, 5  # noqa: E741 - the letters of holdfast.notation

OPTIONS: dict[str, dict[str, Any]] = {
    **KINDS,
    "learned start": {"learn_initial_state": True, "residual": True},
    "weight drop": {"weight_drop": 0.4},
}
each_layer = pytest.mark.parametrize("kind", OPTIONS)


def made(kind: str) -> LSTM:
    return LSTM(I, H, 2, bidirectional=True, **OPTIONS[kind])


def through_torch_save(layer: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def trained_once(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, state and gradients."""
    result = seeded(layer)(x)
    gradients = torch.autograd.grad(loss_of(result), list(layer.parameters()))
    return [result[0].detach(), *(part.detach() for part in result[1]), *gradients]


@each_layer
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)), through_torch_save],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_a_copy_computes_the_same_and_is_its_own(
    kind: str, training: bool, copied: Callable[[LSTM], LSTM]
) -> None:
    layer, x = made(kind).train(training), torch.randn(T, B, I)
    layer(x)  # a layer that was used before
    twin = copied(layer)
    assert_close(trained_once(twin, x), trained_once(layer, x), rtol=0, atol=0)
    assert twin.extra_repr() == layer.extra_repr()
    before = seeded(layer)(x)[0]
    with torch.no_grad():
        twin.weight_hh_l0.add_(1)
    assert_close(seeded(layer)(x)[0], before, rtol=0, atol=0)


@each_layer
def test_the_state_is_saved_without_code(kind: str) -> None:
    layer, x, file = made(kind), torch.randn(T, B, I), io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    twin = made(kind)
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert_close(seeded(twin)(x), seeded(layer)(x), rtol=0, atol=0)


def test_another_process_loads_the_layer(tmp_path: Any) -> None:
    layer, x = layer_of("modified", I, H, 2).eval(), torch.randn(T, B, I)
    torch.save((layer, x, layer(x)[0]), tmp_path / "layer.pt")
    code = """
import sys, torch
layer, x, expected = torch.load(sys.argv[1], weights_only=False)
print(torch.equal(layer(x)[0], expected))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "layer.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "True", done.stderr


@each_layer
def test_a_layer_moves_between_types(kind: str) -> None:
    layer, x = made(kind).eval(), torch.randn(T, B, I)
    expected = layer(x)
    found = layer.double()(x.double())
    assert all(tensor.dtype == torch.float64 for tensor in (found[0], *found[1]))
    assert_close(found, expected, check_dtype=False)


PARAMETRISED: dict[str, Callable[[nn.Module, str], nn.Module]] = {
    "orthogonal": orthogonal,
    "weight_norm": weight_norm,
}


@pytest.mark.parametrize("how", PARAMETRISED)
@pytest.mark.parametrize("kind", ["lstm", "lstm on the reference", "layernorm", "modified", "weight drop"])
def test_a_parametrised_weight_is_used_and_trained(kind: str, how: str) -> None:
    layer, x = made(kind), torch.randn(T, B, I)
    PARAMETRISED[how](layer, "weight_hh_l0")
    plain = made(kind)
    state = {name: value for name, value in layer.state_dict().items() if "parametrizations" not in name}
    plain.load_state_dict({**state, "weight_hh_l0": layer.weight_hh_l0.detach()})
    assert_close(seeded(layer)(x), seeded(plain)(x))

    names = [name for name, _ in layer.named_parameters() if "parametrizations.weight_hh_l0" in name]
    assert names
    loss_of(seeded(layer)(x)).backward()  # type: ignore[no-untyped-call]
    assert all(own.grad is not None and own.grad.any() for own in layer.parameters())
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    weight = layer.weight_hh_l0
    if how == "orthogonal":
        assert_close(weight.T @ weight, torch.eye(H), rtol=0, atol=1e-5)
    plain.load_state_dict(
        {
            **{key: value for key, value in layer.state_dict().items() if "parametrizations" not in key},
            "weight_hh_l0": weight.detach(),
        }
    )
    with parametrize.cached():
        assert_close(seeded(layer)(x), seeded(plain)(x))


def test_a_parametrised_layer_is_compiled_and_copied() -> None:
    torch._dynamo.reset()
    layer, x = weight_norm(made("peephole"), "weight_hh_l1"), torch.randn(T, B, I)
    expected = trained_once(layer, x)
    assert_close(trained_once(torch.compile(layer, backend="aot_eager", fullgraph=True), x), expected)
    assert_close(trained_once(copy.deepcopy(layer), x), expected)
    parametrize.remove_parametrizations(layer, "weight_hh_l1")
    assert_close(seeded(layer)(x)[0].detach(), expected[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@each_layer
def test_a_layer_moves_between_devices(kind: str) -> None:
    layer, x = made(kind).eval(), torch.randn(T, B, I)
    expected = layer(x)
    found = layer.cuda()(x.cuda())
    assert all(tensor.is_cuda for tensor in (found[0], *found[1]))
    assert_close(layer.cpu()(x), expected, rtol=0, atol=0)
    assert_close([tensor.cpu() for tensor in (found[0], *found[1])], [expected[0], *expected[1]])
