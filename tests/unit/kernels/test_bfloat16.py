"""Products of bfloat16 in the core: against a loop that rounds as it does, and what a caller sees of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tolerance import allowed_difference, largest_difference
from torch import Tensor
from torch.func import vjp
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import holdfast
from holdfast.cells import get
from holdfast.cells.core import reason_against_bfloat16
from holdfast.errors import BackendError, ConfigError
from holdfast.kernels import Request
from holdfast.kernels.interface import Upstream, Wanted
from holdfast.kernels.native import NativeBackend
from holdfast.runtime import prepare, prepare_arrays

BUILT = importlib.util.find_spec("holdfast._core") is not None
if BUILT:
    from holdfast import _core
HERE = BUILT and getattr(_core, "has_bfloat16", False)
needs_core = pytest.mark.skipif(not BUILT, reason="the compiled core is not built")
needs_bfloat16 = pytest.mark.skipif(not HERE, reason="the core does not multiply in bfloat16 here")
BACKEND = NativeBackend()
BOTH = Wanted(x=True, weights=True)
SIZES = [(1, 7, 23, 37), (12, 5, 8, 16), (9, 1, 1, 1), (6, 13, 34, 67)]  # T, B, I, H
CELLS = ["lstm", "rnn", "peephole", "coupled", "no_forget_gate", "layernorm"]


class _Rounded(torch.autograd.Function):
    """`x @ w.T`, and its gradients, of operands that are rounded to bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return rounded(x) @ rounded(w).T

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return rounded(upstream) @ rounded(w), rounded(upstream).T @ rounded(x)


def rounded(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().to(tensor.dtype)


def request_of(steps: int, batch: int, inputs: int, hidden: int) -> Request:
    generator = torch.Generator().manual_seed(steps * 100 + hidden)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / 3

    weights = {
        "weight_ih": draw(4 * hidden, inputs),
        "weight_hh": draw(4 * hidden, hidden),
        "bias_ih": draw(4 * hidden),
        "bias_hh": draw(4 * hidden),
    }
    state = (draw(1, batch, hidden), draw(1, batch, hidden))
    return Request(get("lstm"), draw(steps, batch, inputs), [[weights]], state, bfloat16=True)


def upstream_of(request: Request) -> tuple[Tensor, Tensor, Tensor]:
    """What reaches the output and the last states."""
    generator = torch.Generator().manual_seed(1)
    steps, batch = request.leading
    shapes = ((steps, batch, request.hidden), *[(1, batch, request.hidden)] * 2)
    output, h, c = (torch.randn(shape, generator=generator) for shape in shapes)
    return output, h, c


def by_core(request: Request) -> dict[str, Tensor]:
    found = BACKEND.forward(request, keep=True)
    output, *states = upstream_of(request)
    gradients = BACKEND.backward(request, found, Upstream(output, states, {}), BOTH)
    assert gradients.x is not None
    named = {"output": found.output, "h": found.state[0], "c": found.state[1], "d_x": gradients.x}
    named |= {f"d_{name}": one for name, one in gradients.weights[0][0].items()}
    return named | {"d_h": gradients.state[0], "d_c": gradients.state[1]}


def by_hand(request: Request, *, rounds: bool) -> dict[str, Tensor]:
    """The same in float64, with operands of products that are rounded or not."""
    assert request.state is not None
    given = {"x": request.data, **request.weights[0][0], "h": request.state[0][0], "c": request.state[1][0]}
    own = {name: value.double().requires_grad_() for name, value in given.items()}
    h, c, outputs = own["h"], own["c"], []
    for x in own["x"]:
        pairs = ((x, own["weight_ih"]), (h, own["weight_hh"]))
        products = [_Rounded.apply(*pair) if rounds else pair[0] @ pair[1].T for pair in pairs]
        i, f, g, o = (sum(products) + own["bias_ih"] + own["bias_hh"]).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    results = (torch.stack(outputs), h[None], c[None])
    loss = sum((result * one).sum() for result, one in zip(results, upstream_of(request), strict=True))
    gradients = torch.autograd.grad(loss, list(own.values()))
    named = dict(zip(("output", "h", "c"), (result.detach() for result in results), strict=True))
    for name, value in zip(own, gradients, strict=True):
        named[f"d_{name}"] = value[None] if name in {"h", "c"} else value
    return named


@needs_bfloat16
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_operands_are_rounded_and_sums_are_not(sizes: tuple[int, int, int, int]) -> None:
    request = request_of(*sizes)
    exact, loop, found = by_hand(request, rounds=False), by_hand(request, rounds=True), by_core(request)
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        assert found[name].dtype == torch.float32
        allowed = allowed_difference(largest_difference(loop[name], value), torch.float32)
        assert largest_difference(found[name], value) <= allowed, name
    plain = by_core(replace(request, bfloat16=False))
    for name, value in plain.items():
        assert not torch.equal(found[name], value), name


@needs_bfloat16
def test_one_step_is_that_of_rounded_operands_to_the_last_bits_of_float32() -> None:
    """Of later steps and of gradients an operand may fall on the other side of a tie."""
    request = request_of(1, 7, 23, 37)
    loop, found = by_hand(request, rounds=True), by_core(request)
    for name in ("output", "h", "c"):
        assert largest_difference(found[name], loop[name]) <= 8 * torch.finfo(torch.float32).eps, name


@pytest.fixture(params=[False, True], ids=["float32 layer", "bfloat16 layer"])
def given(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """A layer, its input and state: under autocast, or in bfloat16 itself."""
    torch.manual_seed(3)
    dtype = torch.bfloat16 if request.param else torch.float32
    layer = holdfast.LSTM(5, 9, 2, bidirectional=True, dtype=dtype, backend="native")
    state = tuple(torch.randn(4, 3, 9, dtype=dtype, requires_grad=True) for _ in range(2))
    x = torch.randn(6, 3, 5, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=not request.param):
        yield SimpleNamespace(layer=layer, x=x, state=state, dtype=dtype)


@needs_bfloat16
@pytest.mark.parametrize("lengths", [None, [6, 2, 0]])
def test_results_are_bfloat16_and_gradients_are_as_what_was_given(
    given: SimpleNamespace, lengths: list[int] | None
) -> None:
    output, state, trace = given.layer(given.x, given.state, lengths=lengths, return_trace=True)
    for result in (output, *state, *trace.values()):
        assert result.dtype == torch.bfloat16
    (output.float().sum() + sum(part.float().sum() for part in state)).backward()
    for leaf in (given.x, *given.state, *given.layer.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype == given.dtype
        assert leaf.grad.any()


@needs_bfloat16
def test_the_core_gets_the_weights_themselves_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = holdfast.LSTM(5, 9)
    seen: list[Request] = []
    own = NativeBackend.forward

    def forward(self: NativeBackend, request: Request, keep: bool) -> Any:
        seen.append(request)
        return own(self, request, keep)

    monkeypatch.setattr(NativeBackend, "forward", forward)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(4, 2, 5))
    assert seen[0].bfloat16
    assert seen[0].weights[0][0]["weight_hh"] is layer.weight_hh_l0


@needs_bfloat16
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_near_the_reference(cell: str) -> None:
    torch.manual_seed(1)
    layer = holdfast.LSTM(6, 20, 2, bidirectional=True, cell=cell)
    x = torch.randn(8, 4, 6)
    found = []
    for backend in ("native", "reference"):
        layer.backend = backend
        with torch.autocast("cpu", torch.bfloat16):
            output, state = layer(x, lengths=[8, 3, 0, 5])
        found.append([output, *state])
    for one, other in zip(*found, strict=True):
        # Values below 3 that round to 8 bits in each of 8 steps of 2 layers.
        torch.testing.assert_close(one.float(), other.float(), rtol=0.0, atol=0.05)


@needs_bfloat16
def test_packed_sequences_stay_packed(given: SimpleNamespace) -> None:
    packed = torch.nn.utils.rnn.pack_padded_sequence(given.x, torch.tensor([3, 6, 1]), enforce_sorted=False)
    output, _ = given.layer(packed, given.state)
    whole, _ = given.layer(given.x, given.state, lengths=[3, 6, 1])
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(output)
    assert output.data.dtype == torch.bfloat16
    assert torch.equal(padded, whole)


@needs_bfloat16
def test_dropout_between_layers_is_that_of_the_other_backends() -> None:
    layer = holdfast.LSTM(3, 6, 2, dropout=0.3, bidirectional=True)
    x = torch.randn(5, 4, 3)

    def output(backend: str) -> Tensor:
        layer.backend = backend
        torch.default_generator.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)[0]

    expected = output("torch")
    found, _ = vjp(lambda scale: output("native") * scale, torch.ones((), dtype=torch.bfloat16))
    assert torch.equal(found, output("native"))
    # Values below 1 that round to 8 bits in each of 5 steps of 2 layers; another mask is off by far more.
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.0, atol=0.02)


@needs_bfloat16
@pytest.mark.parametrize("recompute", [None, 3])
def test_threads_and_recomputing_change_no_bit(recompute: int | None) -> None:
    torch.manual_seed(2)
    layer = holdfast.LSTM(24, 70, 2, bidirectional=True)
    x = torch.randn(10, 37, 24)

    def results(threads: int) -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                output, state = layer(x)
            loss = output.float().square().sum() + state.c.float().sum()
            return [output, *state, *torch.autograd.grad(loss, list(layer.parameters()))]
        finally:
            torch.set_num_threads(before)

    expected = results(1)
    layer.recompute = recompute
    for one, other in zip(results(3), expected, strict=True):
        assert torch.equal(one, other)


class _Calls(TorchDispatchMode):
    """Notes what our operators are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "holdfast":
            self.seen.append((func, args))
        return func(*args, **(kwargs or {}))


@needs_bfloat16
def test_the_operators_pass_opcheck(given: SimpleNamespace) -> None:
    with _Calls() as calls:
        given.layer(given.x, given.state)[0].float().sum().backward()
    assert [operator._opname for operator, _ in calls.seen] == ["forward", "backward"]
    for operator, arguments in calls.seen:
        names = [argument.name for argument in operator._schema.arguments]
        assert arguments[names.index("bfloat16")] is True
        with torch.autocast("cpu", enabled=False):
            torch.library.opcheck(operator, tree_map_only(Tensor, Tensor.detach, arguments))


@needs_bfloat16
def test_explain_says_so(given: SimpleNamespace) -> None:
    chosen, *_ = holdfast.explain(given.layer, given.x).splitlines()
    assert chosen.startswith("native: chosen")
    assert "; products of bfloat16, all else in float32)" in chosen


def test_float32_calls_say_nothing_of_it() -> None:
    assert "bfloat16" not in holdfast.explain(holdfast.LSTM(5, 9), torch.zeros(2, 3, 5))


@needs_core
def test_the_reason_against_it_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(level="x86-64-v3", instruction_sets=("avx2", "fma"), has_bfloat16=False)
    forced = SimpleNamespace(
        level="x86-64-v4", instruction_sets=("avx512f", "avx512bf16"), has_bfloat16=False
    )
    assert reason_against_bfloat16(SimpleNamespace(has_bfloat16=True)) is None
    assert "AVX512_BF16, which this processor lacks" in str(reason_against_bfloat16(older))
    assert "which its level here, x86-64-v4, lacks" in str(reason_against_bfloat16(forced))
    for core in (older, forced):
        monkeypatch.setattr("holdfast.kernels.native._core", core)
        layer = holdfast.LSTM(5, 9, dtype=torch.bfloat16)
        assert BACKEND.supports(layer.request(torch.zeros(2, 3, 5, dtype=torch.bfloat16))) == (
            reason_against_bfloat16(core)
        )


@needs_bfloat16
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_what_is_prepared_is_what_the_layer_gives(batch: int) -> None:
    torch.manual_seed(4)
    layer = holdfast.LSTM(21, 45, 2)
    x = torch.randn(7, batch, 21)
    prepared = prepare(layer, dtype="bfloat16")
    assert prepared.dtype == np.float32
    assert prepared.bfloat16
    assert "float32 with products of bfloat16" in repr(prepared)
    output, state = prepared.run(x.numpy())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, final = layer(x)
    for found, own in zip((output, *state), (expected, *final), strict=True):
        assert found.dtype == np.float32
        assert torch.equal(torch.from_numpy(found).bfloat16(), own)
    carried = prepared.initial_state(batch)
    frames = np.stack([prepared.step(frame, carried) for frame in x.numpy()])
    assert np.array_equal(frames, output)
    assert all(np.array_equal(one, other) for one, other in zip(carried, state, strict=True))


@needs_bfloat16
def test_layers_and_arrays_of_any_type_are_prepared_in_bfloat16() -> None:
    layer = holdfast.LSTM(5, 9).bfloat16()
    x = np.random.default_rng(0).standard_normal((4, 2, 5)).astype(np.float32)
    arrays = {name: value.float().numpy() for name, value in layer.state_dict().items()}
    expected, _ = prepare(layer, dtype=torch.bfloat16).run(x)
    for made in (
        prepare(layer.float(), dtype="bfloat16"),
        prepare_arrays("lstm", arrays, dtype="bfloat16"),
        prepare(layer.double(), dtype="bfloat16"),
    ):
        assert np.array_equal(made.run(x)[0], expected)


@needs_core
def test_prepared_types() -> None:
    layer = holdfast.LSTM(5, 9)
    assert prepare(layer, dtype="float64").dtype == np.float64
    assert prepare(layer.double(), dtype=torch.float32).dtype == np.float32
    assert not prepare(layer).bfloat16
    with pytest.raises(ConfigError, match="dtype is 'half'; it must be one of float32, float64, bfloat16"):
        prepare(layer, dtype="half")


@needs_core
@pytest.mark.skipif(HERE, reason="the core multiplies in bfloat16 here")
def test_what_cannot_be_prepared_is_refused() -> None:
    with pytest.raises(BackendError, match="holdfast's core multiplies in bfloat16 by the instructions"):
        prepare(holdfast.LSTM(5, 9), dtype="bfloat16")
