"""x as indices and as a sparse tensor: the numbers and gradients of the dense x that it stands for."""

from __future__ import annotations

import copy
import io
from math import prod
from typing import Any

import pytest
import torch
from tolerance import allowed_difference, largest_difference
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import holdfast
from holdfast import LSTM
from holdfast.cells import CELLS
from holdfast.errors import ConfigError, InputError

T, B, I, H = 7, 3, 11, 4  # noqa: E741 - the letters of holdfast.notation
FAR = 2**40
BACKENDS = ("auto", "torch", "reference")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True])


# PyTorch's own: about its deprecated tracer, about sparse layouts, of Dynamo about tensors of eager code.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


class Calls(TorchDispatchMode):
    """Notes what our operators are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "holdfast":
            self.seen.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def drawn(*shape: int) -> Tensor:
    return torch.randint(I, shape, generator=torch.Generator().manual_seed(5))


def one_hot(tokens: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    return functional.one_hot(tokens.long(), I).to(dtype)


def sparse(*leading: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A sparse tensor that is not coalesced: some steps without entries, some with the same index twice."""
    generator = torch.Generator().manual_seed(6)
    count = prod(leading) + 4
    indices = torch.stack([torch.randint(size, (count,), generator=generator) for size in (*leading, I)])
    indices[-1, 1::4] = indices[-1, 0::4][: len(indices[-1, 1::4])]
    indices[:-1, 1::4] = indices[:-1, 0::4][:, : indices[:, 1::4].size(1)]
    values = torch.randn(count, generator=generator, dtype=dtype)
    x = torch.sparse_coo_tensor(indices, values, (*leading, I), check_invariants=True)
    assert x._nnz() > x.coalesce()._nnz()
    return x


def results(layer: nn.Module, x: Any, **keywords: Any) -> list[Tensor]:
    """Output, states and the gradients of all parameters, under one seed."""
    layer.zero_grad()
    torch.manual_seed(2)
    output, state = layer(x, **keywords)
    output = output.data if isinstance(output, PackedSequence) else output
    loss = output.square().sum() + sum((k + 2) * part.sum() for k, part in enumerate(state))
    loss.backward()
    return [output.detach(), *(part.detach() for part in state), *(own.grad for own in layer.parameters())]


def assert_the_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other.any()
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def double_layer(**keywords: Any) -> LSTM:
    torch.manual_seed(1)
    return LSTM(I, H, **{"dtype": torch.float64, **keywords})


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
@pytest.mark.parametrize("sparse_input", [False, True])
@each_backend
@both_ways
def test_indices_are_their_one_hot_vectors(
    backend: str, bidirectional: bool, sparse_input: bool, kind: torch.dtype
) -> None:
    layer = double_layer(
        num_layers=2, bidirectional=bidirectional, backend=backend, sparse_input=sparse_input
    )
    tokens = drawn(T, B)
    assert_the_same(results(layer, tokens.to(kind)), results(layer, one_hot(tokens)))


@pytest.mark.parametrize("sparse_input", [False, True])
@each_backend
@both_ways
def test_a_sparse_x_is_the_dense_one(backend: str, bidirectional: bool, sparse_input: bool) -> None:
    layer = double_layer(
        num_layers=2, bidirectional=bidirectional, backend=backend, sparse_input=sparse_input
    )
    x = sparse(T, B)
    assert (x.to_dense() == 0).all(-1).any()  # steps without entries
    assert_the_same(results(layer, x), results(layer, x.to_dense()))
    assert_the_same(results(layer, x.coalesce()), results(layer, x.to_dense()))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_every_cell_takes_both(cell: str, backend: str) -> None:
    layer = double_layer(cell=cell, backend=backend, bidirectional=True)
    tokens = drawn(T, B)
    assert_the_same(results(layer, tokens), results(layer, one_hot(tokens)))
    x = sparse(T, B) + one_hot(tokens).to_sparse()  # a step of zeros is no place to normalise
    assert_the_same(results(layer, x), results(layer, x.to_dense()))


KEYWORDS: dict[str, dict[str, Any]] = {
    "dropout": {"num_layers": 3, "dropout": 0.5},
    "residual": {"num_layers": 3, "bidirectional": True, "residual": True, "dropout": 0.2},
    "without bias": {"bias": False},
    "projection": {"proj_size": 2},
    "learnt state": {"learn_initial_state": True},
    "noise": {"zoneout": 0.2, "recurrent_dropout": {"g": 0.2, "h": 0.3}, "cell_clip": 0.1},
    "weight drop": {"weight_drop": 0.3},
    "recompute": {"recompute": 2, "num_layers": 2, "bidirectional": True},
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_every_keyword_goes_with_both(name: str) -> None:
    layer, tokens, x = double_layer(**KEYWORDS[name]), drawn(T, B), sparse(T, B)
    assert_the_same(results(layer, tokens), results(layer, one_hot(tokens)))
    assert_the_same(results(layer, x), results(layer, x.to_dense()))


@pytest.mark.parametrize("sparse_input", [False, True])
@each_backend
@both_ways
def test_padding_is_never_read(backend: str, bidirectional: bool, sparse_input: bool) -> None:
    layer = double_layer(
        num_layers=2, bidirectional=bidirectional, backend=backend, sparse_input=sparse_input
    )
    lengths, tokens = [5, 0, 7], drawn(T, B)
    expected = results(layer, one_hot(tokens), lengths=lengths)
    for wrong in (FAR, -1, I):
        padded = tokens.clone()
        for b, length in enumerate(lengths):
            padded[length:, b] = wrong
        assert_the_same(results(layer, padded, lengths=lengths), expected)
    x = sparse(T, B).coalesce()
    expected = results(layer, x.to_dense(), lengths=lengths)
    steps, rows, columns = x.indices()
    padding = steps >= torch.tensor(lengths)[rows]
    x.values()[padding], columns[padding] = float("nan"), FAR
    assert_the_same(results(layer, x, lengths=lengths), expected)


def test_a_reset_and_a_state_go_with_both() -> None:
    layer, tokens, x = double_layer(bidirectional=True, num_layers=2), drawn(T, B), sparse(T, B)
    generator = torch.Generator().manual_seed(3)
    keywords = {
        "reset": torch.rand(T, B, generator=generator) < 0.3,
        "hx": tuple(torch.randn(4, B, H, generator=generator, dtype=torch.float64) for _ in range(2)),
        "lengths": [7, 4, 2],
    }
    assert_the_same(results(layer, tokens, **keywords), results(layer, one_hot(tokens), **keywords))
    assert_the_same(results(layer, x, **keywords), results(layer, x.to_dense(), **keywords))


def test_batch_first_and_one_sequence() -> None:
    layer = double_layer(batch_first=True)
    assert_the_same(results(layer, drawn(B, T)), results(layer, one_hot(drawn(B, T))))
    assert_the_same(results(layer, drawn(T)), results(layer, one_hot(drawn(T))))
    for x in (sparse(B, T), sparse(T)):
        assert_the_same(results(layer, x), results(layer, x.to_dense()))


@pytest.mark.parametrize("convert", [Tensor.to_sparse_csr, Tensor.to_sparse_csc])
def test_other_sparse_layouts_are_taken_too(convert: Any) -> None:
    layer = double_layer()
    one, several = one_hot(drawn(T)), one_hot(drawn(T, B))
    assert_the_same(results(layer, convert(one)), results(layer, one))
    assert_the_same(results(layer, several.to_sparse_csr()), results(layer, several))


@each_backend
def test_packed_indices(backend: str) -> None:
    layer = double_layer(bidirectional=True, backend=backend, num_layers=2)
    tokens, lengths = drawn(T, B), torch.tensor([4, 7, 2])
    packed = pack_padded_sequence(tokens, lengths, enforce_sorted=False)
    dense = pack_padded_sequence(one_hot(tokens), lengths, enforce_sorted=False)
    assert_the_same(results(layer, packed), results(layer, dense))
    packed.data[3] = I
    with pytest.raises(InputError, match=rf"x has the index {I} at .*indices go from 0 to {I - 1}"):
        layer(packed)


@pytest.mark.parametrize("cell", ["lstm", "layernorm"])
def test_float32_is_as_near_as_a_dense_x(cell: str) -> None:
    exact = double_layer(cell=cell)
    layer = copy.deepcopy(exact).float()
    tokens = drawn(T, B)
    x = sparse(T, B, dtype=torch.float32) + one_hot(tokens, torch.float32).to_sparse()
    for given, dense in ((tokens, one_hot(tokens)), (x, x.to_dense().double())):
        wanted, own = results(exact, dense), results(layer, dense.float())
        for found, one, best in zip(results(layer, given), own, wanted, strict=True):
            allowed = allowed_difference(largest_difference(one, best), torch.float32)
            assert largest_difference(found, best) <= allowed


def test_a_trace_shows_the_same() -> None:
    layer, tokens = double_layer(num_layers=2), drawn(T, B)
    traces = []
    for x in (tokens, one_hot(tokens)):
        output, _, trace = layer(x, return_trace="gradients")
        output.square().sum().backward()
        traces.append([trace["f"], trace["c"], trace.gradients["g"], trace.gradients["c"]])
    assert_the_same(*traces)


@pytest.mark.parametrize("given", ["indices", "sparse"])
def test_step_by_step(given: str) -> None:
    layer = double_layer(num_layers=2)
    x = drawn(T, B) if given == "indices" else sparse(T, B)
    state = None
    for t in range(T):
        output, state = layer.step(x[t], state)
    torch.testing.assert_close(output, layer(x)[0][-1], rtol=1e-12, atol=1e-13)
    alone, _ = layer.step(x[0][1])
    torch.testing.assert_close(alone, layer(x)[0][0, 1], rtol=1e-12, atol=1e-13)


def test_t_and_b_of_nothing() -> None:
    layer = double_layer(bidirectional=True)
    output, (h, _) = layer(torch.zeros(T, 0, dtype=torch.int64))
    assert (output.shape, h.shape) == ((T, 0, 2 * H), (2, 0, H))
    nothing = torch.zeros(T, B, I).double()
    found, expected = results(layer, nothing.to_sparse()), results(layer, nothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    assert not layer.weight_ih_l0.grad.any()
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        layer(torch.zeros(0, B, dtype=torch.int64))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[0, 1], [2, 11]], InputError, "index 11 at step 1 of row 1; with input_size 11 .* from 0 to 10"),
        ([[0, 1], [-1, 11]], InputError, "index -1 at step 1 of row 0"),
        ([[[0, 1]]], ValueError, r"dtype \(torch.int64\) does not match weight dtype \(torch.float64\)"),
        (3, ValueError, "Expected input to be 2D or 3D, got 0D"),
    ],
)
@each_backend
def test_wrong_indices_are_refused(backend: str, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        double_layer(backend=backend)(torch.tensor(x))


def test_only_a_valid_wrong_index_is_named() -> None:
    tokens = torch.full((T, B), 99)
    tokens[:2] = 0
    layer = double_layer()
    layer(tokens, lengths=[2, 2, 0])
    with pytest.raises(InputError, match="index 99 at step 2 of row 1"):
        layer(tokens, lengths=[2, 3, 0])


def test_a_wrong_sparse_x_is_refused() -> None:
    layer, x = double_layer(), sparse(T, B)
    with pytest.raises(InputError, match=r"no gradient reaches a sparse x: give x.detach\(\)"):
        layer(x.requires_grad_())
    with torch.no_grad():
        layer(x)
    with pytest.raises(InputError, match="got 2 sparse and 1 dense ones"):
        layer(torch.randn(T, B, I).double().to_sparse(2))
    with pytest.raises(ValueError, match="does not match weight dtype"):
        layer(sparse(T, B, dtype=torch.float32))
    with pytest.raises(RuntimeError, match="Expected 11, got 12"):
        layer(torch.randn(T, B, 12).double().to_sparse())
    for place, message in (([0, B, 0], "outside of its shape"), ([3, 2, I], "index 11 at step 3 of row 2")):
        unchecked = torch.sparse_coo_tensor(
            torch.tensor(place).unsqueeze(1), torch.ones(1).double(), (T, B, I), check_invariants=False
        )
        with pytest.raises(InputError, match=message):
            layer(unchecked)
    with pytest.raises(ValueError, match="Expected input to be 2D or 3D, got 4D"):
        layer(torch.randn(T, B, 2, I).double().to_sparse())


@pytest.mark.parametrize("x", [drawn(2, 2), sparse(2, 2)], ids=["indices", "sparse"])
def test_gradients_are_those_of_finite_differences(x: Tensor) -> None:
    layer = LSTM(I, 1, dtype=torch.float64)
    names = layer.weights()[0][0].keys()

    def output(*values: Tensor) -> Tensor:
        output: Tensor = layer(x, weights=[[dict(zip(names, values, strict=True))]])[0]
        return output

    values = tuple(own.detach().clone().requires_grad_() for own in layer.parameters())
    assert torch.autograd.gradcheck(output, values)
    assert torch.autograd.gradgradcheck(output, values)


class TestColumnByColumn:
    """`sparse_input=True`: where weight_ih lies, and that nothing else changes."""

    def test_values_and_names_are_the_same(self) -> None:
        torch.manual_seed(0)
        plain = LSTM(I, H, 2, bidirectional=True)
        torch.manual_seed(0)
        layer = LSTM(I, H, 2, bidirectional=True, sparse_input=True)
        assert "sparse_input=True" in repr(layer)
        for (name, own), (other_name, other) in zip(
            layer.named_parameters(), plain.named_parameters(), strict=True
        ):
            assert name == other_name
            assert torch.equal(own, other)
            columnwise = name.startswith("weight_ih_l0")
            assert own.stride() == ((1, 4 * H) if columnwise else other.stride())
        layer.load_state_dict(plain.state_dict())
        plain.load_state_dict(layer.state_dict())

    @pytest.mark.parametrize("cell", ["lstm", "peephole"])
    def test_gradients_lie_as_the_weights_do(self, cell: str) -> None:
        layer = double_layer(cell=cell, sparse_input=True)
        results(layer, drawn(T, B))
        gradient = layer.weight_ih_l0.grad
        assert gradient is not None
        assert gradient.stride() == layer.weight_ih_l0.stride() == (1, 4 * H)
        gradient.zero_()  # as torch.optim does in place

    def test_it_stays_so(self) -> None:
        layer = double_layer(sparse_input=True)
        stored = io.BytesIO()
        torch.save(layer, stored)
        stored.seek(0)
        loaded = torch.load(stored, weights_only=False)
        for other in (copy.deepcopy(layer), copy.deepcopy(layer).float(), loaded):
            assert other.weight_ih_l0.stride() == (1, 4 * H)
        layer.reset_parameters()
        assert layer.weight_ih_l0.stride() == (1, 4 * H)

    def test_training_is_the_same(self) -> None:
        torch.manual_seed(0)
        plain = LSTM(I, H)
        torch.manual_seed(0)
        layer = LSTM(I, H, sparse_input=True)
        tokens = drawn(T, B)
        for one in (plain, layer):
            optimiser = torch.optim.Adam(one.parameters(), lr=0.1)
            for _ in range(3):
                results(one, tokens)
                optimiser.step()
        torch.testing.assert_close(layer.state_dict(), plain.state_dict())

    def test_a_dense_x_still_works(self) -> None:
        layer, plain = double_layer(sparse_input=True, cell="peephole"), double_layer(cell="peephole")
        x = torch.randn(T, B, I).double()
        assert_the_same(results(layer, x), results(plain, x))

    def test_pytorchs_layer_of_it_is_contiguous(self) -> None:
        theirs = double_layer(sparse_input=True).to_torch()
        assert theirs.weight_ih_l0.is_contiguous()
        assert torch.equal(theirs.weight_ih_l0, double_layer().weight_ih_l0)

    def test_it_is_decided_once(self) -> None:
        layer = LSTM(I, H)
        with pytest.raises(ConfigError, match="sparse_input is fixed when the LSTM is made"):
            layer.sparse_input = True
        with pytest.raises(ConfigError, match="sparse_input is 'yes'; it must be True or False"):
            LSTM(I, H, sparse_input="yes")


class TestOtherWays:
    """Compilers, transforms, autocast."""

    @pytest.mark.parametrize("sparse_input", [False, True])
    @pytest.mark.parametrize("cell", ["lstm", "peephole"])
    def test_compiled(self, cell: str, sparse_input: bool) -> None:
        layer = double_layer(cell=cell, sparse_input=sparse_input, bidirectional=True)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        tokens = drawn(T, B)
        assert_the_same(results(compiled, tokens), results(layer, tokens))

    @pytest.mark.parametrize("backend", ["auto", "reference"])
    def test_exported(self, backend: str) -> None:
        layer, dim = double_layer(bidirectional=True, backend=backend).eval(), torch.export.Dim.DYNAMIC
        program = torch.export.export(layer, (drawn(T, B),), dynamic_shapes={"input": {0: dim, 1: dim}})
        tokens = drawn(T + 2, B + 3)
        torch.testing.assert_close(program.module()(tokens)[0], layer(tokens)[0])
        tokens[4, 1] = I
        with pytest.raises(InputError, match=f"index {I} at step 4 of row 1"):
            program.module()(tokens)

    def test_traced(self) -> None:
        layer = double_layer().eval()
        traced = torch.jit.trace(layer, (drawn(T, B),))
        torch.testing.assert_close(traced(drawn(T + 2, B))[0], layer(drawn(T + 2, B))[0])

    def test_a_graph_holds_no_sparse_x(self) -> None:
        layer, x = double_layer(), sparse(T, B)
        assert_the_same(results(torch.compile(layer, backend="aot_eager"), x), results(layer, x))
        for record in (torch.export.export, torch.jit.trace):
            with pytest.raises(InputError, match="a sparse x is for eager calls"):
                record(layer, (x,))

    def test_gradients_of_each_row(self) -> None:
        layer, tokens = double_layer(), drawn(T, B)
        parameters = dict(layer.named_parameters())

        def loss(own: dict[str, Tensor], row: Tensor) -> Tensor:
            output: Tensor = torch.func.functional_call(layer, own, (row,))[0]
            return output.square().sum()

        found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, tokens)
        for b in range(B):
            layer.zero_grad()
            layer(tokens[:, b])[0].square().sum().backward()
            for name, own in layer.named_parameters():
                torch.testing.assert_close(found[name][b], own.grad)

    @pytest.mark.parametrize("cell", ["lstm", "peephole"])
    def test_under_autocast(self, cell: str) -> None:
        layer, tokens = LSTM(I, H, cell=cell), drawn(T, B)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layer(tokens)[0]
            expected = layer(one_hot(tokens, torch.float32))[0]
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("backend", ["auto", "reference"])
    @pytest.mark.parametrize("given", ["indices", "sparse"])
    def test_the_operators_pass_opcheck(self, given: str, backend: str) -> None:
        layer = double_layer(cell="peephole", sparse_input=True, bidirectional=True, backend=backend)
        x = drawn(T, B) if given == "indices" else sparse(T, B)
        with Calls() as calls:
            output, _ = layer(x, lengths=[5, 0, 7])
            output.square().sum().backward()
        assert len(calls.seen) == 2
        for operator, *given in tree_map_only(Tensor, Tensor.detach, calls.seen):
            torch.library.opcheck(operator, *given)


def test_explain_takes_both() -> None:
    layer = double_layer()
    for x in (drawn(T, B), sparse(T, B)):
        assert ": chosen (" in holdfast.explain(layer, x)
