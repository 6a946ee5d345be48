"""Autograd around the operators: what is wanted is computed, and only that."""

from __future__ import annotations

import itertools

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.func import functional_call, stack_module_state, vjp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.errors import InputError
from holdfast.kernels import backends, recurrence
from holdfast.kernels.printed import _known
from holdfast.nn.lstm import LSTM

T, B, I, H = 5, 3, 4, 6  # noqa: E741 - the letters of holdfast.notation
KINDS = ("x", "weights", "state")
BACKENDS = [one.name for one in backends() if one.available and one.name != "torch"]


def inputs(cell: str) -> tuple[LSTM, dict[str, list[Tensor]]]:
    layer = LSTM(I, H, 2, bidirectional=True, cell=cell, dtype=torch.float64)
    state = [torch.randn(4, B, H, dtype=torch.float64) for _ in layer.cell.states]
    return layer, {
        "x": [torch.randn(T, B, I, dtype=torch.float64)],
        "weights": [weight for layer in layer.weights() for own in layer for weight in own.values()],
        "state": state,
    }


def gradients(
    cell: str, layer: LSTM, given: dict[str, list[Tensor]], wanted: tuple[str, ...]
) -> list[Tensor]:
    for kind, tensors in given.items():
        for tensor in tensors:
            tensor.requires_grad_(kind in wanted)
    result = recurrence(
        layer.cell, given["x"][0], layer.weights(), tuple(given["state"]), backend="reference"
    )
    output = result.output
    assert isinstance(output, Tensor)
    leaves = [tensor for kind in wanted for tensor in given[kind]]
    return list(torch.autograd.grad(output.square().sum() + result.state[0].sum(), leaves))


SOME = [some for count in (1, 2, 3) for some in itertools.combinations(KINDS, count)]


@pytest.mark.parametrize("cell", ["peephole", "layernorm"])
@pytest.mark.parametrize("wanted", SOME, ids="-".join)
def test_a_part_of_the_gradients_is_the_same_as_in_all(cell: str, wanted: tuple[str, ...]) -> None:
    layer, given = inputs(cell)
    everything = gradients(cell, layer, given, KINDS)
    by_kind, start = {}, 0
    for kind in KINDS:
        by_kind[kind] = everything[start : start + len(given[kind])]
        start += len(given[kind])
    expected = [gradient for kind in wanted for gradient in by_kind[kind]]
    for found, own in zip(gradients(cell, layer, given, wanted), expected, strict=True):
        assert torch.equal(found, own)


class Calls(TorchDispatchMode):
    """The names of PyTorch's operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[object, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.append((str(func), args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("wanted", [("x",), ("weights",)], ids="-".join)
def test_the_operator_is_told_what_is_wanted(wanted: tuple[str, ...]) -> None:
    layer, given = inputs("peephole")
    with Calls() as calls:
        gradients("peephole", layer, given, wanted)
    ((_, arguments),) = [call for call in calls.seen if call[0].startswith("holdfast.backward")]
    assert arguments[-2:] == ("x" in wanted, "weights" in wanted)


def trained(layer: LSTM, x: Tensor) -> list[Tensor]:
    """The output of a call and every gradient, with what a first call left behind cleared."""
    layer.zero_grad()
    x.grad = None
    output = layer(x)[0]
    assert isinstance(output, Tensor)
    output.square().sum().backward()  # type: ignore[no-untyped-call]
    return [output.detach(), *(one.grad for one in (x, *layer.parameters()) if one.grad is not None)]


def all_equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@pytest.mark.parametrize("backend", BACKENDS)
class TestEagerMode:
    """Where nothing but autograd looks, the operators are called past the dispatcher: that changes no bit."""

    def layer_and_x(self, backend: str) -> tuple[LSTM, Tensor]:
        torch.manual_seed(0)
        return LSTM(I, H, 2, backend=backend), torch.randn(T, B, I, requires_grad=True)

    def test_a_mode_sees_the_operators(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        expected = trained(layer, x)
        with Calls() as calls:
            found = trained(layer, x)
        assert {name for name, _ in calls.seen} >= {"holdfast.forward.default", "holdfast.backward.default"}
        assert all_equal(found, expected)

    def test_a_profiler_sees_the_operators(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        expected = trained(layer, x)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            found = trained(layer, x)
        assert {event.name for event in profile.events()} >= {"holdfast::forward", "holdfast::backward"}
        assert all_equal(found, expected)

    def test_a_tensor_whose_sign_is_a_bit(self, backend: str) -> None:
        layer, _ = self.layer_and_x(backend)
        x = torch.randn(T, B, I, dtype=torch.complex64).conj().imag
        assert x.is_neg()
        with torch.no_grad():
            assert torch.equal(layer(x)[0], layer(x.resolve_neg())[0])

    def test_what_is_kept_goes_through_hooks_of_saved_tensors(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        expected = trained(layer, x)
        packed: list[Tensor] = []

        def pack(tensor: Tensor) -> int:
            packed.append(tensor.clone())
            return len(packed) - 1

        with torch.autograd.graph.saved_tensors_hooks(pack, packed.__getitem__):
            found = trained(layer, x)
        assert any(tensor.shape == (2, 1, T, B, H) for tensor in packed)
        assert all_equal(found, expected)

    def test_backward_may_run_again(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        loss = layer(x)[0].square().sum()  # type: ignore[union-attr]
        first = torch.autograd.grad(loss, [x, *layer.parameters()], retain_graph=True)
        again = torch.autograd.grad(loss, [x, *layer.parameters()])
        assert all_equal(list(again), list(first))

    def test_second_derivatives(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        (first,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)  # type: ignore[union-attr]
        (found,) = torch.autograd.grad(first.square().sum(), x)
        with Calls():
            (first,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)  # type: ignore[union-attr]
            (expected,) = torch.autograd.grad(first.square().sum(), x)
        assert torch.equal(found, expected)

    def test_a_change_of_a_weight_before_backward_is_noticed(self, backend: str) -> None:
        layer, x = self.layer_and_x(backend)
        output = layer(x)[0]
        with torch.no_grad():
            layer.weight_hh_l0.add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()  # type: ignore[union-attr, no-untyped-call]


def test_the_same_cell_with_other_numbers_prints_no_new_code() -> None:
    layer = LSTM(I, H, zoneout=0.1, backend="reference")
    x = torch.randn(T, B, I)
    layer(x)[0].sum().backward()  # type: ignore[union-attr, no-untyped-call]
    before = len(_known)
    for share in torch.linspace(0.1, 0.5, 100).tolist():
        layer.zoneout = share
        layer(x)[0].sum().backward()  # type: ignore[union-attr, no-untyped-call]
    assert len(_known) == before
    assert len(layer.cell._variants) < 100


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_an_ensemble_is_trained_through_vmap(cell: str) -> None:
    """Autograd runs around the transform, which hides that the weights require it."""
    layers = [LSTM(I, H, cell=cell, dtype=torch.float64) for _ in range(3)]
    x = torch.randn(T, B, I, dtype=torch.float64)
    stacked, _ = stack_module_state(layers)
    outputs = vmap(lambda own: functional_call(layers[0], own, (x,))[0])(stacked)
    outputs.square().sum().backward()
    for k, layer in enumerate(layers):
        layer(x)[0].square().sum().backward()  # type: ignore[union-attr, no-untyped-call]
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(stacked[name].grad[k], parameter.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("wanted", [("x",), ("weights",)], ids="-".join)
def test_a_compiled_call_is_told_what_is_wanted(wanted: tuple[str, ...]) -> None:
    layer = LSTM(I, H, cell="peephole").requires_grad_("weights" in wanted)
    x = torch.randn(T, B, I, requires_grad="x" in wanted)
    seen = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        seen.extend(node.args for node in graph.graph.nodes if "holdfast.backward" in str(node.target))
        return make_boxed_func(graph.forward)

    compiled = torch.compile(layer, backend=aot_autograd(fw_compiler=backend), fullgraph=True)
    compiled(x)[0].sum().backward()
    ((*_, wants_x, wants_weights),) = seen
    assert (wants_x, wants_weights) == ("x" in wanted, "weights" in wanted)


def test_nothing_to_run_is_said() -> None:
    with pytest.raises(InputError, match="vmap over a dimension of size 0"):
        vmap(LSTM(I, H, cell="peephole"))(torch.randn(0, T, B, I))


def test_fake_tensors_are_not_looked_into() -> None:
    with FakeTensorMode():
        layer = LSTM(I, H, cell="peephole")
        output, _ = layer(torch.randn(T, B, I), lengths=torch.tensor([5, 2, 0]))
    assert isinstance(output, FakeTensor)
    assert output.shape == (T, B, H)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_dropout_between_layers_under_autocast_is_that_of_eager_calls(backend: str) -> None:
    """The operators draw the masks that PyTorch's layer draws, in autocast's type."""
    layer = LSTM(I, H, 2, dropout=0.3, bidirectional=True)
    x = torch.randn(T, B, I)

    def output() -> Tensor:
        torch.default_generator.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)[0]

    expected = output()
    layer.backend = backend
    found, _ = vjp(lambda scale: output() * scale, torch.ones((), dtype=torch.bfloat16))
    assert found.dtype == expected.dtype == torch.bfloat16
    # Values below 1 that round to 8 bits in each of 5 steps of 2 layers; another mask is off by far more.
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.0, atol=0.02)


def test_autocast_takes_a_short_input_to_long_weights() -> None:
    layer = LSTM(I, H, cell="peephole")
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(torch.randn(T, B, I).bfloat16())
    assert output.dtype == torch.bfloat16
