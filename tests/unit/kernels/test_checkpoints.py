"""Recomputation: less is kept for the backward pass, and no bit of a result changes."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import holdfast
from holdfast import cells
from holdfast.cells import CELLS
from holdfast.errors import BackendError
from holdfast.kernels import native, recurrence
from holdfast.kernels.checkpoints import SQUARE_ROOT, as_number, count, spacing
from holdfast.kernels.choose import BACKENDS, refusal
from holdfast.nn.lstm import LSTM

T, B, I, H = 13, 4, 3, 5  # noqa: E741 - the letters of holdfast.notation
SPACINGS = (1, 3, 4, T, T + 87, True)
CELLS_TO_TRY = ("lstm", "peephole", "rnn", "layernorm")  # the contract takes every cell
LENGTHS = [T, 6, 0, 9]
RESET = torch.arange(T * B).view(T, B) % 5 == 2
NOISE: dict[str, Any] = {"zoneout": (0.3, 0.2), "recurrent_dropout": {"g": 0.2, "h": 0.3}}

needs_recompute = pytest.mark.skipif(isinstance(native._core, str), reason="the compiled core is not here")
ON_BACKENDS = pytest.mark.parametrize("backend", ["reference", pytest.param("native", marks=needs_recompute)])
# The keywords of the layer, then those of the call.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "both directions of a stack": ({"num_layers": 3, "bidirectional": True}, {}),
    "without biases": ({"bias": False}, {}),
    "lengths": ({"num_layers": 2, "bidirectional": True}, {"lengths": LENGTHS}),
    "reset": ({"num_layers": 2, "bidirectional": True}, {"reset": RESET}),
    "reset to what is learnt": (
        {"learn_initial_state": True, "bidirectional": True},
        {"reset": RESET, "lengths": LENGTHS},
    ),
    "dropout": ({"num_layers": 2, "dropout": 0.3, "residual": True}, {}),
    "noise": ({"num_layers": 2, **NOISE}, {"reset": RESET}),
    "weight drop": ({"weight_drop": 0.3, "cell_clip": 0.4}, {}),
    "projection": ({"num_layers": 2, "proj_size": 2, "bidirectional": True}, {"lengths": LENGTHS}),
    "double": ({"dtype": torch.float64, "batch_first": True}, {}),
    "everything": (
        {"num_layers": 2, "bidirectional": True, "dropout": 0.2, "residual": True, **NOISE},
        {"lengths": LENGTHS, "reset": RESET},
    ),
}


def layer_of(cell: str = "lstm", **options: Any) -> LSTM:
    torch.manual_seed(0)
    if "c" not in CELLS[cell].states:  # of rnn, which has less to modify
        options.pop("cell_clip", None)
        options |= {"zoneout": 0.3} if "zoneout" in options else {}
    return LSTM(I, H, cell=cell, **options)


def results(layer: LSTM, x: Tensor, **call: Any) -> dict[str, Tensor]:
    """Output, last state and every gradient, by name, with the random numbers of a fixed seed."""
    torch.manual_seed(1)
    rows = layer.num_layers * layer.directions
    state = [torch.randn(rows, B, layer._state_width(name), dtype=x.dtype) for name in layer.cell.states]
    leaves = {"x": x, **{f"state of {k}": part for k, part in enumerate(state)}}
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in leaves.items()}
    given = None if layer.learn_initial_state else tuple([leaves[name] for name in list(leaves)[1:]])
    output, final = layer(leaves["x"], given, **call)
    loss = (output * torch.linspace(0.5, 1.5, output.numel(), dtype=x.dtype).view(output.shape)).sum()
    loss = loss + sum(((k + 2) * part).sum() for k, part in enumerate(final))
    every = {**leaves, **dict(layer.named_parameters())}
    found = torch.autograd.grad(loss, list(every.values()), allow_unused=True)
    named = {f"gradient of {name}": one for name, one in zip(every, found, strict=True) if one is not None}
    assert "gradient of weight_hh_l0" in named
    return {"output": output, **{f"last {k}": part for k, part in enumerate(final)}, **named}


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def backends_of(layer: LSTM, x: Tensor, **call: Any) -> list[str]:
    request = layer.request(x, **call)
    return [backend.name for backend in BACKENDS if refusal(backend, request) is None]


class TestHowMany:
    @pytest.mark.parametrize(
        ("wish", "steps", "k", "several"),
        [
            (None, 10, 0, None),
            (1, 10, 1, 10),
            (3, 10, 3, 4),
            (5, 10, 5, 2),
            (10, 10, 10, 1),
            (11, 10, 10, 1),
            (10**30, 10, 10, 1),
            (True, 10, 3, 4),
            (True, 10_000, 100, 100),
            (True, 9_999, 99, 101),
            (True, 1, 1, 1),
            (True, 0, 1, 0),
            (7, 0, 1, 0),
        ],
    )
    def test_the_states_that_are_kept(self, wish: Any, steps: int, k: int, several: int | None) -> None:
        number = as_number(wish, traced=False)
        assert -1 <= number < 2**63  # which an operator takes
        assert spacing(number, steps) == k
        if several is not None:
            assert count(number, steps) == several

    def test_a_trace_shows_every_value_anyway(self) -> None:
        assert as_number(5, traced=True) == as_number(True, traced=True) == 0
        assert as_number(True, traced=False) == SQUARE_ROOT


class TestTheBits:
    @pytest.mark.parametrize("cell", CELLS_TO_TRY)
    @pytest.mark.parametrize("case", CASES)
    def test_are_those_without(self, cell: str, case: str) -> None:
        """On each backend that recomputes; that the core does is the next test's matter."""
        options, call = CASES[case]
        layer = layer_of(cell, **options)
        x = torch.randn(T, B, I, dtype=layer.weight_ih_l0.dtype)
        if layer.batch_first:
            x = x.transpose(0, 1)
        layer.recompute = 3
        names = backends_of(layer, x, **call)
        assert "reference" in names
        for name in names:
            layer.backend, layer.recompute = name, None
            expected = results(layer, x, **call)
            # The reference runs the whole call again, whatever k is.
            for layer.recompute in SPACINGS[:1] if name == "reference" else SPACINGS:
                assert_same_bits(results(layer, x, **call), expected)

    @needs_recompute
    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("case", CASES)
    def test_the_core_recomputes_what_it_runs(self, cell: str, case: str) -> None:
        options, call = CASES[case]
        layer = layer_of(cell, **options)
        x = torch.randn(T, B, I, dtype=layer.weight_ih_l0.dtype)
        if layer.batch_first:
            x = x.transpose(0, 1)
        before = backends_of(layer, x, **call)
        layer.recompute = True
        assert backends_of(layer, x, **call) == [name for name in before if name != "torch"]

    @needs_recompute
    @pytest.mark.parametrize("cell", ["lstm", "peephole"])
    @pytest.mark.parametrize("batch", [1, 33])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_in_the_core_with_many_units_and_threads(self, cell: str, batch: int, threads: int) -> None:
        layer = LSTM(24, 130, 2, bidirectional=True, cell=cell, backend="native")
        x = torch.randn(90, batch, 24)
        lengths = (torch.arange(batch) * 37 + 90) % 91
        before = torch.get_num_threads()
        torch.set_num_threads(threads)

        def trained() -> dict[str, Tensor]:
            output, final = layer(x, lengths=lengths)
            loss = output.square().sum() + sum(part.sum() for part in final)
            found = torch.autograd.grad(loss, list(layer.parameters()))
            return {"output": output, **{f"gradient {k}": one for k, one in enumerate(found)}}

        try:
            expected = trained()
            for layer.recompute in (1, 7, True, 89, 90, 1000):
                assert_same_bits(trained(), expected)
        finally:
            torch.set_num_threads(before)

    @ON_BACKENDS
    @pytest.mark.parametrize("leaf", ["x", "weight_ih_l0", "state of 1"])
    def test_where_one_gradient_is_wanted(self, backend: str, leaf: str) -> None:
        layer, x = layer_of(num_layers=2, backend=backend), torch.randn(T, B, I)
        state = torch.randn(2, B, H), torch.randn(2, B, H)
        leaves = {"x": x, "state of 1": state[1], **dict(layer.named_parameters())}
        layer.requires_grad_(False)
        leaves[leaf].requires_grad_()
        found = []
        for layer.recompute in (None, 4):
            found += torch.autograd.grad(layer(x, state)[0].square().sum(), leaves[leaf])
        assert torch.equal(*found)

    @ON_BACKENDS
    def test_of_a_packed_sequence(self, backend: str) -> None:
        layer, x = layer_of(bidirectional=True, num_layers=2, backend=backend), torch.randn(T, B, I)
        packed = pack_padded_sequence(x, torch.tensor([9, T, 1, 5]), enforce_sorted=False)
        found = []
        for layer.recompute in (None, 4):
            loss = layer(packed)[0].data.square().sum()
            found.append(torch.autograd.grad(loss, list(layer.parameters())))
        assert all(map(torch.equal, *found))

    @ON_BACKENDS
    @pytest.mark.parametrize("sizes", [(0, 3), (4, 0), (0, 0), (1, 1)])
    def test_without_steps_or_rows(self, backend: str, sizes: tuple[int, int]) -> None:
        layer, x = layer_of("peephole", num_layers=2), torch.randn(*sizes, I)
        state = tuple(torch.randn(2, sizes[1], H).requires_grad_() for _ in range(2))
        found = []
        for recompute in (None, 3, True):
            result = recurrence(layer.cell, x, layer.weights(), state, recompute=recompute, backend=backend)
            assert isinstance(result.output, Tensor)
            loss = result.output.sum() + sum(part.square().sum() for part in result.state)
            found.append(torch.autograd.grad(loss, [*layer.parameters(), *state]))
        for other in found[1:]:
            assert all(map(torch.equal, other, found[0]))

    @ON_BACKENDS
    def test_backward_may_run_again_and_the_weights_may_not_change(self, backend: str) -> None:
        layer, x = layer_of(backend=backend, recompute=4), torch.randn(T, B, I)
        loss = layer(x)[0].square().sum()
        first = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
        again = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
        assert all(map(torch.equal, first, again))
        with torch.no_grad():
            layer.weight_hh_l0.add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    @ON_BACKENDS
    def test_second_derivatives(self, backend: str) -> None:
        layer, x = layer_of(backend=backend), torch.randn(T, B, I, requires_grad=True)
        found = []
        for layer.recompute in (None, 4):
            (first,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
            found += torch.autograd.grad(first.square().sum(), x)
        assert torch.equal(*found)

    @ON_BACKENDS
    def test_steps_one_by_one(self, backend: str) -> None:
        layer, x = layer_of(num_layers=2, backend=backend, recompute=4), torch.randn(3, B, I)
        state, outputs = None, []
        for frame in x:
            output, state = layer.step(frame, state)
            outputs.append(output)
        found = torch.autograd.grad(torch.stack(outputs).square().sum(), list(layer.parameters()))
        expected = torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)

    @ON_BACKENDS
    def test_without_gradients(self, backend: str) -> None:
        layer, x = layer_of(num_layers=2, backend=backend), torch.randn(T, B, I)
        outputs = []
        for layer.recompute in (None, 4):
            with torch.no_grad():
                outputs.append(layer(x)[0])
        assert torch.equal(*outputs)


@ON_BACKENDS
@pytest.mark.parametrize("cell", ["lstm", "layernorm"])
def test_under_autocast(backend: str, cell: str) -> None:
    layer, x = layer_of(cell, num_layers=2, backend=backend), torch.randn(T, B, I)
    found = []
    with torch.autocast("cpu", torch.bfloat16):
        if backend not in backends_of(layer, x):
            pytest.skip("the core that is built here does not compute in bfloat16")
    for layer.recompute in (None, 4):
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(x)[0]
        found.append([output, *torch.autograd.grad(output.float().square().sum(), list(layer.parameters()))])
    assert all(map(torch.equal, *found))


@ON_BACKENDS
@pytest.mark.parametrize("given", ["indices", "sparse"])
def test_of_words_and_other_sparse_input(backend: str, given: str) -> None:
    torch.manual_seed(0)
    layer = LSTM(9, H, 2, bidirectional=True, backend=backend)
    x: Tensor = torch.randint(0, 9, (T, B))
    if given == "sparse":
        x = torch.nn.functional.one_hot(x, 9).float().cumsum(0).fmod(3).to_sparse()
    found = []
    for layer.recompute in (None, 1, 4, True):
        output = layer(x, lengths=LENGTHS)[0]
        found.append([output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))])
    for other in found[1:]:
        assert all(map(torch.equal, other, found[0]))


@ON_BACKENDS
def test_a_cell_of_a_user(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "leaking", CELLS["lstm"])  # so that it is as before afterwards
    del CELLS["leaking"]

    @holdfast.cell
    def leaking(g: Any, c: Any, rate: Any = 0.9) -> Any:
        g = cells.tanh(g)
        c = rate * c + g
        return cells.named(g=g, c=c, h=cells.tanh(c))

    layer, x = LSTM(I, H, 2, bidirectional=True, cell=leaking, zoneout=0.2), torch.randn(T, B, I)
    if backend not in backends_of(layer, x):
        pytest.skip("the core that is built here runs holdfast's own cells only, or there is no compiler")
    layer.backend = backend
    layer.recompute = None
    expected = results(layer, x)
    for layer.recompute in (1, 4, True):
        assert_same_bits(results(layer, x), expected)


def bytes_saved(layer: LSTM, x: Tensor) -> int:
    """All that autograd keeps of a call, each piece of memory once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        sizes[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = layer(x)[0]
    assert output.requires_grad
    return sum(sizes.values())


@ON_BACKENDS
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "stack"])
@pytest.mark.parametrize("recompute", [100, True])
def test_a_tenth_of_the_memory_is_enough(
    backend: str, options: dict[str, Any], recompute: int | bool
) -> None:
    """Of 10,000 steps, weights and input included."""
    steps, units = 10_000, 64
    if backend == "reference":  # whose loop takes long; it keeps the same however many there are
        steps, units = 400, 256
    layer, x = LSTM(4, units, backend=backend, **options), torch.randn(steps, 1, 4)
    own = sum(one.nbytes for one in (x, *layer.parameters()))
    everything = bytes_saved(layer, x)
    layer.recompute = recompute
    spared = bytes_saved(layer, x)
    assert spared - own <= (everything - own) / 10
    if backend == "native":
        assert spared <= everything / 10
        runs = layer.num_layers * layer.directions
        passed = (layer.num_layers - 1) * layer.directions * steps
        assert spared - own == 4 * units * (2 * runs * (steps // 100) + passed)


class TestWhoRunsIt:
    @pytest.mark.parametrize("keep", [False, True])
    def test_the_reference_holds_on_to_no_value(self, keep: bool) -> None:
        request = layer_of("layernorm", num_layers=2, recompute=4).request(torch.zeros(T, B, I))
        (backend,) = (one for one in BACKENDS if one.name == "reference")
        found = backend.forward(request, keep)
        assert not [*found.values, *found.parts, *found.checkpoints]
        assert not backend.keeps(request)

    def test_pytorchs_path_says_why_it_does_not(self) -> None:
        layer, x = LSTM(I, H, recompute=4), torch.zeros(T, B, I)
        assert "torch: refused: PyTorch's fused path keeps every value" in holdfast.explain(layer, x)
        layer.backend = "torch"
        with pytest.raises(BackendError, match=r"cannot run this call.*recompute forbids"):
            layer(x)
        layer.recompute = None
        layer(x)

    def test_a_trace_keeps_every_value_all_the_same(self) -> None:
        layer, x = layer_of(recompute=4), torch.randn(T, B, I)
        assert layer.request(x).recompute == 4
        assert layer.request(x, return_trace=True).recompute == 0
        output, _, trace = layer(x, return_trace="gradients")
        output.square().sum().backward()
        found = {**trace, **{f"gradient of {name}": one for name, one in trace.gradients.items()}}
        layer.recompute = None
        layer.zero_grad()
        output, _, trace = layer(x, return_trace="gradients")
        output.square().sum().backward()
        expected = {**trace, **{f"gradient of {name}": one for name, one in trace.gradients.items()}}
        assert_same_bits(found, expected)


class TestTheLayer:
    def test_it_is_in_repr_and_in_copies_but_not_in_the_state(self) -> None:
        layer, plain = layer_of(recompute=True), layer_of()
        assert repr(layer) == "LSTM(3, 5, recompute=True)"
        assert layer.state_dict().keys() == plain.state_dict().keys()
        layer.load_state_dict(plain.state_dict())
        for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert made.recompute is True
            assert repr(made) == repr(layer)
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        assert torch.load(file, weights_only=False).recompute is True

    def test_false_is_none_and_whole_numbers_are_numbers(self) -> None:
        numpy = pytest.importorskip("numpy")
        assert LSTM(I, H, recompute=False).recompute is None
        layer = LSTM(I, H, recompute=numpy.int64(7))
        assert type(layer.recompute) is int
        assert repr(layer) == "LSTM(3, 5, recompute=7)"

    def test_pytorchs_layer_computes_the_same(self) -> None:
        layer, x = layer_of(recompute=4), torch.randn(T, B, I)
        torch.testing.assert_close(layer.to_torch()(x)[0], layer(x)[0])
