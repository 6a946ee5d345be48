"""The contract of every backend: each cell it supports, against a loop written by hand, by one rule.

The rule: the largest difference from the float64 loop, relative to the largest float64 value, is at most
twice that of the same loop in the backend's own type, or 8 eps if that is more; for every output and every
gradient by name. A rounding error is luck, so both are the worst of two draws of the inputs, and the loop's
own is also the worst of two orders of summation (in float64 it has none otherwise).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest
import torch
from tolerance import allowed_difference, largest_difference
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from holdfast.cells import CELLS, get
from holdfast.kernels import Request, Weights, recurrence
from holdfast.kernels.choose import BACKENDS

Named = dict[str, Tensor]

T, B, I, H, P = 7, 4, 3, 5, 2  # noqa: E741 - the letters of holdfast.notation
LENGTHS = (7, 2, 0, 5)


@dataclass(frozen=True)
class Case:
    """One configuration of a stack of layers."""

    cell: str
    layers: int = 1
    bidirectional: bool = False
    projection: bool = False
    bias: bool = True
    lengths: bool = False
    state: bool = True

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def __str__(self) -> str:
        flags = [
            name
            for name in ("bidirectional", "projection", "bias", "lengths", "state")
            if getattr(self, name)
        ]
        return "-".join([self.cell, str(self.layers), *flags])


def gate_count(cell: str) -> int:
    return 1 if cell == "rnn" else 4


def leaves(case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> Named:
    """Every input of a call by name, the same numbers in any dtype."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).float()

    rows, width = gate_count(case.cell) * H, P if case.projection else H
    named: Named = {"x": draw(T, B, I)}
    if case.state:
        named["h0"] = draw(case.layers * case.directions, B, width)
        if case.cell != "rnn":
            named["c0"] = draw(case.layers * case.directions, B, H)
    for layer, d in itertools.product(range(case.layers), range(case.directions)):
        entering = I if layer == 0 else width * case.directions
        shapes = {"weight_ih": (rows, entering), "weight_hh": (rows, width)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if case.bias else {}
        shapes |= {"weight_hr": (P, H)} if case.projection else {}
        shapes |= {"weight_peephole": (3 * H,)} if case.cell == "peephole" else {}
        named |= {f"{name}.{layer}.{d}": draw(*shape, scale=0.3) for name, shape in shapes.items()}
    return {name: value.to(dtype).requires_grad_() for name, value in named.items()}


def weights_of(case: Case, named: Named) -> Weights:
    def own(layer: int, d: int) -> Named:
        end = f".{layer}.{d}"
        return {name.removesuffix(end): value for name, value in named.items() if name.endswith(end)}

    return [[own(layer, d) for d in range(case.directions)] for layer in range(case.layers)]


def state_of(named: Named) -> tuple[Tensor, ...] | None:
    return tuple(named[name] for name in ("h0", "c0") if name in named) or None


def lengths_of(case: Case) -> Tensor | None:
    return torch.tensor(LENGTHS) if case.lengths else None


def step_by_hand(cell: str, z: Tensor, c: Tensor, own: Named) -> tuple[Tensor, Tensor]:
    """The next h and c of one row, from its pre-activations `[G*H]`."""
    if cell == "rnn":
        return z.tanh(), c
    i, f, g, o = z.split(H)
    see_i, see_f, see_o = (
        own["weight_peephole"].split(H) if cell == "peephole" else [torch.zeros(H).to(z)] * 3
    )
    c_next = torch.sigmoid(f + see_f * c) * c + torch.sigmoid(i + see_i * c) * g.tanh()
    return torch.sigmoid(o + see_o * c_next) * c_next.tanh(), c_next


def product(matrix: Tensor, vector: Tensor, *, from_the_end: bool) -> Tensor:
    return matrix.flip(1) @ vector.flip(0) if from_the_end else matrix @ vector


def by_hand(case: Case, named: Named, *, from_the_end: bool = False) -> Named:
    """The whole recurrence row by row and step by step: no masks, each row is run over its own steps only."""
    width, lengths = P if case.projection else H, LENGTHS if case.lengths else (T,) * B
    rows = case.layers * case.directions
    start_h = named["h0"] if case.state else torch.zeros(rows, B, width).to(named["x"])
    start_c = named.get("c0", torch.zeros(rows, B, H).to(named["x"]))
    entering = [list(named["x"][:, b]) for b in range(B)]
    final: list[tuple[list[Tensor], list[Tensor]]] = []
    for layer in range(case.layers):
        left: list[list[list[Tensor]]] = [[[] for _ in range(T)] for _ in range(B)]
        for d in range(case.directions):
            own = weights_of(case, named)[layer][d]
            final.append(([], []))
            for b in range(B):
                h, c = start_h[layer * case.directions + d, b], start_c[layer * case.directions + d, b]
                for t in range(lengths[b]) if d == 0 else reversed(range(lengths[b])):
                    z = product(own["weight_ih"], entering[b][t], from_the_end=from_the_end)
                    z = z + product(own["weight_hh"], h, from_the_end=from_the_end)
                    if case.bias:
                        z = z + own["bias_ih"] + own["bias_hh"]
                    h, c = step_by_hand(case.cell, z, c, own)
                    h = own["weight_hr"] @ h if case.projection else h
                    left[b][t].append(h)
                final[-1][0].append(h)
                final[-1][1].append(c)
        nothing = torch.zeros(width * case.directions).to(named["x"])
        entering = [[torch.cat(parts) if parts else nothing for parts in row] for row in left]
    output = torch.stack([torch.stack(row) for row in entering], dim=1)
    results = {"output": output, "h_n": torch.stack([torch.stack(h) for h, _ in final])}
    if case.cell != "rnn":
        results["c_n"] = torch.stack([torch.stack(c) for _, c in final])
    return results


def by_backend(case: Case, named: Named, backend: str) -> Named:
    result = recurrence(
        get(case.cell),
        named["x"],
        weights_of(case, named),
        state_of(named),
        lengths_of(case),
        backend=backend,
    )
    return {"output": result.output, **dict(zip(("h_n", "c_n"), result.state, strict=False))}  # type: ignore[dict-item]


def with_gradients(run: Callable[[Named], Named], named: Named) -> Named:
    """Every result, and the gradient of a weighted sum of all of them to every input, as float64."""
    results = run(named)
    generator = torch.Generator().manual_seed(11)
    loss = torch.zeros((), dtype=torch.float64)
    for value in results.values():
        weight = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        loss = loss + (value.double() * weight).sum()
    gradients = torch.autograd.grad(loss, list(named.values()))
    found = results | {f"grad {name}": gradient for name, gradient in zip(named, gradients, strict=True)}
    return {name: value.detach().double() for name, value in found.items()}


SEEDS = (0, 1)


@cache
def exact(case: Case, seed: int) -> Named:
    return with_gradients(lambda named: by_hand(case, named), leaves(case, seed=seed))


@cache
def rounding_errors(case: Case, dtype: torch.dtype) -> dict[str, float]:
    """By name, the largest error of the loop by hand in that type."""
    errors: dict[str, float] = {}
    for seed, from_the_end in itertools.product(SEEDS, (False, True)):
        named = leaves(case, dtype, seed)
        found = with_gradients(partial(by_hand, case, from_the_end=from_the_end), named)
        for name, value in exact(case, seed).items():
            errors[name] = max(errors.get(name, 0.0), largest_difference(found[name], value))
    return errors


def supported(case: Case, backend_name: str) -> bool:
    named = leaves(case)
    request = Request(get(case.cell), named["x"], weights_of(case, named), lengths=lengths_of(case))
    (backend,) = (backend for backend in BACKENDS if backend.name == backend_name)
    return backend.supports(request) is None


def pairs() -> Iterator[tuple[str, Case]]:
    """Every backend with every case it supports: the base case, each change to it, and pairs of changes."""
    changes = [
        {"bidirectional": True},
        {"projection": True},
        {"bias": False},
        {"lengths": True},
        {"state": False},
        {"layers": 2},
    ]
    for name in CELLS:
        cases = {Case(name)}
        for first, second in itertools.product(changes, changes):
            cases.add(replace(Case(name), **{**first, **second}))  # type: ignore[arg-type]
        for state in (False, True):
            cases.add(Case(name, layers=2, bidirectional=True, lengths=True, state=state))
            cases.add(Case(name, layers=2, bidirectional=True, lengths=True, projection=True, state=state))
        for case in sorted(cases, key=str):
            if case.cell == "rnn" and case.projection:
                continue
            yield from ((backend.name, case) for backend in BACKENDS if supported(case, backend.name))


PAIRS = [pytest.param(backend, case, id=f"{backend}-{case}") for backend, case in pairs()]


DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("backend", "case"), PAIRS)
def test_every_output_and_gradient(backend: str, case: Case, dtype: torch.dtype) -> None:
    for seed in SEEDS:
        found = with_gradients(lambda named: by_backend(case, named, backend), leaves(case, dtype, seed))
        assert found.keys() == exact(case, seed).keys()
        for name, value in exact(case, seed).items():
            allowed = allowed_difference(rounding_errors(case, dtype)[name], dtype)
            difference = largest_difference(found[name], value)
            assert difference <= allowed, f"{name}: {difference:.3g} from float64, {allowed:.3g} allowed"


def extreme(case: Case, dtype: torch.dtype, seed: int) -> Named:
    """Units whose input or forget gate is far open or far shut, by its bias or by its weights."""
    named = leaves(case, dtype, seed)
    with torch.no_grad():
        for name, value in named.items():
            if name.startswith("bias_ih"):
                value[:H] = torch.tensor([35000.0, -35000.0, 0.0, 35000.0, 0.0])
                value[H : 2 * H] = torch.tensor([-35000.0, 35000.0, 0.0, 35000.0, 0.0])
            if name.startswith("weight_ih"):
                value[[2, H + 2]] = torch.tensor([[1e4], [-1e4]]).to(dtype)
    return named


EXTREME = [
    Case("lstm", bidirectional=True, lengths=True, state=state, layers=layers)
    for state, layers in itertools.product((False, True), (1, 2))
]


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16], ids=str)
@pytest.mark.parametrize("case", EXTREME, ids=str)
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_padding_stays_frozen_however_large_the_pre_activations(
    backend: str, case: Case, dtype: torch.dtype
) -> None:
    named = extreme(case, dtype, seed=0)
    found = with_gradients(lambda given: by_backend(case, given, backend), named)
    exactly = with_gradients(lambda given: by_hand(case, given), extreme(case, torch.float64, seed=0))
    own = with_gradients(lambda given: by_hand(case, given), named)
    for name, value in exactly.items():
        allowed = allowed_difference(largest_difference(own[name], value), dtype)
        difference = largest_difference(found[name], value)
        assert difference <= allowed, f"{name}: {difference:.3g} from float64, {allowed:.3g} allowed"


@pytest.mark.parametrize("state", [False, True])
def test_padding_stays_frozen_under_autocast(state: bool) -> None:
    case = Case("lstm", bidirectional=True, lengths=True, state=state)
    named = leaves(case, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = by_backend(case, named, "torch"), by_backend(case, named, "reference")
    empty = LENGTHS.index(0)
    for name, value in expected.items():
        assert found[name].isfinite().all()
        # Values below 3 that round to 8 bits in each of 7 steps.
        torch.testing.assert_close(found[name].float(), value.float(), rtol=0.0, atol=0.05)
    assert torch.equal(found["c_n"][:, empty], expected["c_n"][:, empty])


WITH_LENGTHS = [pair for pair in PAIRS if pair.values[1].lengths]  # type: ignore[union-attr]
PLAIN = [pair for pair in PAIRS if not pair.values[1].lengths]  # type: ignore[union-attr]


@pytest.mark.parametrize(("backend", "case"), WITH_LENGTHS)
@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
def test_what_lies_in_padding_changes_nothing(backend: str, case: Case, rubbish: float) -> None:
    named = leaves(case)
    padding = torch.arange(T).unsqueeze(1) >= torch.tensor(LENGTHS)
    spoilt = {**named, "x": named["x"].detach().clone()}
    spoilt["x"][padding] = rubbish
    spoilt["x"].requires_grad_()
    clean = with_gradients(lambda given: by_backend(case, given, backend), named)
    found = with_gradients(lambda given: by_backend(case, given, backend), spoilt)
    for name, value in clean.items():
        assert torch.equal(found[name], value), name
    assert not found["output"][padding].any()
    assert not found["grad x"][padding].any()


@pytest.mark.parametrize(("backend", "case"), WITH_LENGTHS)
def test_a_gradient_that_reaches_padding_is_dropped(backend: str, case: Case) -> None:
    named = leaves(case)
    results = by_backend(case, named, backend)
    padding = torch.arange(T).unsqueeze(1) >= torch.tensor(LENGTHS)
    upstream = torch.zeros_like(results["output"])
    upstream[padding] = float("nan")
    gradients = torch.autograd.grad(results["output"], list(named.values()), upstream, allow_unused=True)
    for name, gradient in zip(named, gradients, strict=True):
        assert gradient is None or not gradient.any(), name


@pytest.mark.parametrize(("backend", "case"), WITH_LENGTHS)
def test_a_row_of_length_0_keeps_its_state_to_the_bit(backend: str, case: Case) -> None:
    named = leaves(case, torch.float32)
    results = by_backend(case, named, backend)
    empty = LENGTHS.index(0)
    for name in ("h", "c"):
        if f"{name}_n" in results:
            given = named[f"{name}0"] if case.state else torch.zeros_like(results[f"{name}_n"])
            assert torch.equal(results[f"{name}_n"][:, empty], given[:, empty]), name


@pytest.mark.parametrize(("backend", "case"), WITH_LENGTHS)
def test_padded_equals_packed(backend: str, case: Case) -> None:
    named = leaves(case)
    rows = [b for b, length in enumerate(LENGTHS) if length > 0]
    lengths = torch.tensor([LENGTHS[b] for b in rows])
    some = {**named, "x": named["x"][:, rows]}
    some |= {name: named[name][:, rows] for name in ("h0", "c0") if name in named}
    packed = pack_padded_sequence(some["x"], lengths, enforce_sorted=False)
    arguments = (weights_of(case, some), state_of(some))
    from_packed = recurrence(get(case.cell), packed, *arguments, backend=backend)
    from_padded = recurrence(get(case.cell), some["x"], *arguments, lengths, backend=backend)
    unpacked, _ = pad_packed_sequence(from_packed.output)  # type: ignore[arg-type]
    for one, other in zip(
        (unpacked, *from_packed.state), (from_padded.output, *from_padded.state), strict=True
    ):
        # The same float64 sums in another order.
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("backend", "case"), [p for p in PLAIN if not p.values[1].bidirectional])  # type: ignore[union-attr]
def test_chunked_equals_whole(backend: str, case: Case) -> None:
    named = leaves(case)
    whole = recurrence(get(case.cell), named["x"], weights_of(case, named), state_of(named), backend=backend)
    state, outputs = state_of(named), []
    for chunk in named["x"].split([3, 1, 3]):
        part = recurrence(get(case.cell), chunk, weights_of(case, named), state, backend=backend)
        outputs.append(part.output)
        state = part.state
    assert state is not None
    torch.testing.assert_close(torch.cat(outputs), whole.output, rtol=1e-12, atol=1e-14)  # type: ignore[arg-type]
    for one, other in zip(state, whole.state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("backend", "case"), [p for p in PLAIN if p.values[1].bidirectional])  # type: ignore[union-attr]
def test_the_second_direction_is_the_first_on_reversed_time(backend: str, case: Case) -> None:
    one_layer = replace(case, layers=1)
    named = leaves(one_layer)
    (both,) = weights_of(one_layer, named)
    state = state_of(named)
    second = None if state is None else tuple(part[1:] for part in state)
    whole = recurrence(get(case.cell), named["x"], [both], state, backend=backend)
    turned = recurrence(get(case.cell), named["x"].flip(0), [[both[1]]], second, backend=backend)
    width = P if case.projection else H
    expected = turned.output.flip(0)  # type: ignore[union-attr]
    torch.testing.assert_close(whole.output[..., width:], expected, rtol=1e-12, atol=1e-14)  # type: ignore[index]
    for one, other in zip(whole.state, turned.state, strict=True):
        torch.testing.assert_close(one[1:], other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("backend", "cell"), sorted({(p.values[0], p.values[1].cell) for p in PAIRS}))  # type: ignore[union-attr]
def test_renumbering_the_units_renumbers_the_results(backend: str, cell: str) -> None:
    case = Case(cell, lengths=True)
    named = leaves(case)
    order = torch.tensor([3, 0, 4, 1, 2])

    def renumbered(name: str, value: Tensor) -> Tensor:
        if name == "x":
            return value
        if name in ("h0", "c0"):
            return value[..., order]
        blocks = value.unflatten(0, (-1, H))[:, order].flatten(0, 1)
        return blocks[:, order] if name.startswith("weight_hh") else blocks

    plain = by_backend(case, named, backend)
    moved = by_backend(case, {name: renumbered(name, value) for name, value in named.items()}, backend)
    for name, value in plain.items():
        torch.testing.assert_close(moved[name], value[..., order], rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize("lengths", [False, True])
def test_peephole_with_zero_weights_is_the_lstm(lengths: bool) -> None:
    case = Case("peephole", layers=2, bidirectional=True, lengths=lengths)
    named = leaves(case)
    named = {n: torch.zeros_like(v) if n.startswith("weight_peephole") else v for n, v in named.items()}
    blind = {name: value for name, value in named.items() if not name.startswith("weight_peephole")}
    found, expected = by_backend(case, named, "auto"), by_backend(replace(case, cell="lstm"), blind, "auto")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_the_cell_state_is_held_when_f_is_1_and_i_is_0(backend: str) -> None:
    case = Case("lstm")
    named = leaves(case, torch.float32)
    with torch.no_grad():
        for name in ("weight_ih.0.0", "weight_hh.0.0"):
            named[name][: 2 * H] = 0
        named["bias_ih.0.0"][:H] = -1000
        named["bias_ih.0.0"][H : 2 * H] = 1000
    results = by_backend(case, named, backend)
    assert torch.equal(results["c_n"], named["c0"])


@pytest.mark.parametrize(
    "case",
    [Case(name, layers=2, bidirectional=True, lengths=True) for name in CELLS]
    + [Case("lstm", projection=True, lengths=True), Case("peephole", state=False)],
    ids=str,
)
def test_the_trace_shows_the_values_of_each_step(case: Case) -> None:
    named = leaves(case)
    cell = get(case.cell)
    result = recurrence(
        cell, named["x"], weights_of(case, named), state_of(named), lengths_of(case), trace=True
    )
    assert result.trace is not None
    assert list(result.trace) == list(cell.values)
    width = P if case.projection else H
    for name, value in result.trace.items():
        shape = (case.layers, case.directions, T, B, width if name == "h" else H)
        assert value.shape == shape, name
        assert value.requires_grad == (name in cell.states), name
    last_layer = result.trace["h"][-1]
    torch.testing.assert_close(torch.cat(list(last_layer), dim=2), result.output)
    if "c" in cell.states:
        check_the_equation_of_c(case, result.trace, named)
    (gradient,) = torch.autograd.grad(result.trace["h"][0].sum(), named["x"])
    assert gradient.any()


def check_the_equation_of_c(case: Case, trace: Named, named: Named) -> None:
    """c = f c_before + i g at each valid step, in the direction's own order of time; all zero in padding."""
    lengths = LENGTHS if case.lengths else (T,) * B
    for layer, d, b in itertools.product(range(case.layers), range(case.directions), range(B)):
        steps = range(lengths[b]) if d == 0 else range(lengths[b] - 1, -1, -1)
        c = named["c0"][layer * case.directions + d, b] if case.state else torch.zeros(H).double()
        for t in steps:
            i, f, g = (trace[name][layer, d, t, b] for name in "ifg")
            c = f * c + i * g
            torch.testing.assert_close(trace["c"][layer, d, t, b], c, rtol=1e-12, atol=1e-14)
            c = trace["c"][layer, d, t, b]
        for value in trace.values():
            assert not value[layer, d, lengths[b] :, b].any()


@pytest.mark.parametrize("name", CELLS)
def test_a_sequence_of_no_steps_leaves_the_state(name: str) -> None:
    case = Case(name, layers=2, bidirectional=True)
    named = leaves(case)
    result = recurrence(get(name), named["x"][:0], weights_of(case, named), state_of(named), trace=True)
    assert result.output.shape == (0, B, 2 * H)  # type: ignore[union-attr]
    for one, given in zip(result.state, state_of(named) or (), strict=True):
        assert torch.equal(one, given)
    assert result.trace is not None
    assert result.trace["h"].shape == (2, 2, 0, B, H)
