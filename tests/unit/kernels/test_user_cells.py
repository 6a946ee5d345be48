"""A user's own cell in the core: the same numbers as from the reference, the same bits as a built-in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cells_of_users import USERS
from tolerance import allowed_difference, largest_difference
from torch import Tensor

import holdfast
from holdfast.cells import CELLS, Cell, Parameter, get, named, relu, sigmoid, tanh
from holdfast.kernels import native
from holdfast.nn.lstm import LSTM

pytestmark = [
    pytest.mark.skipif(not hasattr(native._core, "load_cells"), reason="the compiled core takes no cells"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler"),
]

T, B, I, H = 11, 7, 5, 37  # noqa: E741 - the letters of holdfast.notation
LENGTHS = [T, 6, 0, 9, 1, T, 3]
RESET = torch.arange(T * B).view(T, B) % 9 == 4
NOISE: dict[str, Any] = {"zoneout": 0.2, "recurrent_dropout": {"h": 0.3}, "num_layers": 2, "dropout": 0.2}
# The keywords of the layer, then those of the call.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "both directions of a stack": ({"num_layers": 2, "bidirectional": True}, {"lengths": LENGTHS}),
    "noise": (NOISE, {"reset": RESET}),
    "projection": ({"num_layers": 2, "proj_size": 9}, {"lengths": LENGTHS, "reset": RESET}),
    "recomputed": ({"recompute": 3, "zoneout": 0.2, "bias": False}, {"lengths": LENGTHS}),
}
Symbol = Any
Values = dict[str, Symbol]


def five_gates(i: Symbol, f: Symbol, g: Symbol, o: Symbol, a: Symbol, c: Symbol) -> Values:
    """One gate more than a register tile has vectors."""
    i, f, o, a = sigmoid(i), sigmoid(f), sigmoid(o), relu(a)
    g = tanh(g)
    c = f * c + i * a * g
    return named(i=i, f=f, g=g, o=o, a=a, c=c, h=o * tanh(c))


def eight_gates(
    a: Symbol, b: Symbol, d: Symbol, e: Symbol, f: Symbol, g: Symbol, i: Symbol, o: Symbol, c: Symbol
) -> Values:
    """As many as the core has room for."""
    a, b, d, e = sigmoid(a), sigmoid(b), tanh(d), tanh(e)
    f, g, i, o = sigmoid(f), tanh(g), sigmoid(i), sigmoid(o)
    c = f * c + i * g - a * d
    return named(a=a, b=b, d=d, e=e, f=f, g=g, i=i, o=o, c=c, h=o * tanh(c) + b * e)


def two_gates(f: Symbol, g: Symbol, c: Symbol, rate: Symbol) -> Values:
    f, g = sigmoid(f + rate * c), tanh(g)
    c = f * c + (1 - f) * g
    return named(f=f, g=g, c=c, h=tanh(c))


RATE = Parameter("rate", ("rate",), "how much f sees of c", start=0.5)
TRIED = (
    Cell("five_gates", five_gates, tuple("ifgoa"), ("h", "c")),
    Cell("eight_gates", eight_gates, tuple("abdefgio"), ("h", "c")),
    Cell("two_gates", two_gates, tuple("fg"), ("h", "c"), (RATE,)),
    *USERS,
)
QUICK = {"five_gates", "two_gates", "nested", "partly_split", "multiplied"}
each_cell = pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=() if cell.name in QUICK else pytest.mark.slow) for cell in TRIED],
    ids=[cell.name for cell in TRIED],
)
each_type = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture
def _cells_are_left_as_they_were() -> Iterator[None]:
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)


def layer_of(cell: Cell | str, dtype: torch.dtype, *, seed: int = 0, **options: Any) -> LSTM:
    torch.manual_seed(seed)
    if "c" not in get(cell).states:  # a modifier of c is refused
        options.pop("cell_clip", None)
    return LSTM(I, H, cell=cell, dtype=torch.float64, **options).to(dtype)


def results(layer: LSTM, seed: int = 1, **call: Any) -> dict[str, Tensor]:
    """Output, last state and every gradient, by name; the numbers are of float32."""
    torch.manual_seed(seed)
    dtype = layer.weight_hh_l0.dtype
    rows = layer.num_layers * layer.directions
    shapes = {"x": (T, B, I)} | {
        f"state {name}": (rows, B, layer._state_width(name)) for name in layer.cell.states
    }
    leaves = {name: torch.randn(shape).to(dtype).requires_grad_() for name, shape in shapes.items()}
    x, *state = leaves.values()
    output, final = layer(x, tuple(state), generator=torch.Generator().manual_seed(2), **call)
    weights = torch.linspace(0.5, 1.5, output.numel()).to(dtype).view(output.shape)
    loss = (output * weights).sum() + sum(((k + 2) * part).sum() for k, part in enumerate(final))
    every = {**leaves, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(loss, list(every.values()), allow_unused=True, materialize_grads=True)
    found = {
        "output": output,
        **{f"last {name}": part for name, part in zip(layer.cell.states, final, strict=True)},
    }
    found |= {f"gradient of {name}": gradient for name, gradient in zip(every, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def by(backend: str, cell: Cell | str, case: str, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    options, call = CASES[case]
    layer = layer_of(cell, torch.float32, seed=seed, backend=backend, **options).to(dtype)
    return results(layer, seed, **call)


def own_errors(cell: Cell, case: str, draws: int) -> dict[str, float]:
    """By name, the error of the reference in float32, which is luck: hence the worst of some draws."""
    errors: dict[str, float] = {}
    for seed in range(draws):
        exact, found = (by("reference", cell, case, dtype, seed) for dtype in (torch.float64, torch.float32))
        for name, value in exact.items():
            errors[name] = max(errors.get(name, 0.0), largest_difference(found[name], value))
    return errors


@each_type
@pytest.mark.parametrize("case", CASES)
@each_cell
def test_it_agrees_with_the_reference(cell: Cell, case: str, dtype: torch.dtype) -> None:
    """By the rule of tests/contract/agreement.py."""
    exact, found = (
        by(which, cell, case, own, 0) for which, own in (("reference", torch.float64), ("native", dtype))
    )
    assert found.keys() == exact.keys()
    differences = {name: largest_difference(found[name], value) for name, value in exact.items()}
    in_eps = torch.finfo(dtype).eps / torch.finfo(torch.float32).eps
    for draws in (0, 2, 8):
        errors = own_errors(cell, case, draws)
        bounds = {}
        for name in exact:
            own = errors.get(name, 0.0) * in_eps
            bounds[name] = allowed_difference(own, dtype) + (own if dtype == torch.float64 else 0.0)
        if all(differences[name] <= bound for name, bound in bounds.items()):
            return
    beyond = {name: (differences[name], bound) for name, bound in bounds.items() if differences[name] > bound}
    assert not beyond


@pytest.mark.usefixtures("_cells_are_left_as_they_were")
class TestACopyOfABuiltInCell:
    """`replace(cell, name=...)` is another cell to holdfast."""

    @each_type
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize(
        "name",
        [
            "layernorm",
            *(pytest.param(name, marks=pytest.mark.slow) for name in ("rnn", "full_gate_recurrence")),
        ],
    )
    def test_gives_the_same_bits(self, name: str, case: str, dtype: torch.dtype) -> None:
        found = by("native", replace(get(name), name=f"own_{name}"), case, dtype, 0)
        for what, value in by("native", name, case, dtype, 0).items():
            assert torch.equal(found[what], value), what

    @each_type
    @pytest.mark.parametrize("case", CASES)
    def test_gives_the_same_bits_if_it_is_written_anew(self, case: str, dtype: torch.dtype) -> None:
        found = by("native", written_anew(), case, dtype, 0)
        for what, value in by("native", "peephole", case, dtype, 0).items():
            assert torch.equal(found[what], value), what

    @each_type
    @pytest.mark.parametrize("options", [{}, {"zoneout": 0.2, "cell_clip": 0.5, "num_layers": 2}])
    def test_gives_the_same_bits_frame_by_frame(self, options: dict[str, Any], dtype: torch.dtype) -> None:
        x = torch.randn(T, B, I).to(dtype)
        rows = []
        for cell in (written_anew(), get("peephole")):
            layer = layer_of(cell, dtype, **options).eval()
            prepared = holdfast.prepare(layer)
            state = prepared.initial_state(B)
            frames = [prepared.step(frame, state) for frame in x.numpy()]
            whole, _ = prepared.run(x.numpy())
            output, stepped = layer.step(x[0])
            rows.append([np.stack(frames), whole, *state, *(t.detach().numpy() for t in (output, *stepped))])
        for own, other in zip(*rows, strict=True):
            assert np.array_equal(own, other)
        assert np.array_equal(rows[0][0], rows[0][1])

    def test_gives_the_same_trace(self) -> None:
        x = torch.randn(T, B, I)
        traces = []
        for cell in (written_anew(), get("peephole")):
            layer = layer_of(cell, torch.float32, zoneout=0.2)
            _, _, trace = layer(x, generator=torch.Generator().manual_seed(2), return_trace="gradients")
            trace["c"].sum().backward()
            traces.append((dict(trace), dict(trace.gradients)))
        for own, other in zip(*traces, strict=True):
            assert own.keys() == other.keys()
            assert all(torch.equal(own[name], value) for name, value in other.items())


def written_anew() -> Cell:
    """As a user would write peephole."""
    cell = CELLS.get("seeing_c")
    if cell is None:
        peepholes = Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what the gates see of c")

        @holdfast.cell(parameters=(peepholes,), name="seeing_c")
        def cell(
            i: Symbol, f: Symbol, g: Symbol, o: Symbol, c: Symbol, p_i: Symbol, p_f: Symbol, p_o: Symbol
        ) -> Values:
            i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
            c = f * c + i * g
            o = sigmoid(o + p_o * c)
            return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))

    return cell


@each_type
@each_cell
def test_a_single_cell_runs_in_the_core(cell: Cell, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    native_cell, other = (
        holdfast.LSTMCell(I, H, cell=cell, dtype=dtype, backend=backend)
        for backend in ("native", "reference")
    )
    other.load_state_dict(native_cell.state_dict())
    x = torch.randn(B, I, dtype=dtype)
    start = tuple(torch.randn(B, H, dtype=dtype) for _ in cell.states)
    for own, expected in zip(native_cell(x, start), other(x, start), strict=True):
        torch.testing.assert_close(own, expected)
    prepared = holdfast.prepare(native_cell)
    state = tuple(part[None].numpy().copy() for part in start)
    prepared.step(x.numpy(), state)
    for own, expected in zip(state, native_cell(x, start), strict=True):
        torch.testing.assert_close(torch.from_numpy(own[0]), expected.detach())


def test_a_graph_has_it_even_if_it_is_compiled_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    cell = replace(TRIED[2], name="in_a_graph")
    layer = layer_of(cell, torch.float32)
    x = torch.randn(T, B, I)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x)[0], layer_of(cell, torch.float32, backend="native")(x)[0])
