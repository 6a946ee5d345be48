"""How the cells follow from one another, and what their gates can be made to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from contract.agreement import backends_of, by_backend, call, loss_of, results_of
from contract.cases import CLIP, Case, H, leaves
from contract.cell_properties import all_same_sums, same_sums
from contract.papers import PAPERS, Named
from torch import Tensor

OPEN = 1000.0  # sigmoid is exactly 1 here, and 0 at its negative

STACK = Case("lstm", layers=2, bidirectional=True, lengths=True, reset=True)


def rows_of(cell: str, gate: str) -> slice:
    k = PAPERS[cell].gates.index(gate)
    return slice(k * H, (k + 1) * H)


def per_gate(name: str) -> bool:
    """Whether a tensor has one row block per gate."""
    return name.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def without_gate(named: Named, cell: str, gate: str) -> Named:
    """The weights of the cell that lacks this gate of `cell`, peephole and all."""
    rows = rows_of(cell, gate)
    found = {}
    for name, value in named.items():
        if per_gate(name):
            found[name] = torch.cat([value[: rows.start], value[rows.stop :]])
        elif name.startswith("weight_peephole"):
            blocks = dict(zip("ifo", value.split(H), strict=True))
            found[name] = torch.cat([block for other, block in blocks.items() if other != gate])
        else:
            found[name] = value
    return found


def held(named: Named, cell: str, gate: str, bias: float) -> Named:
    """The weights with this gate always at the sigmoid of `bias`."""
    found = {}
    for name, value in named.items():
        value = value.detach().clone()
        if per_gate(name):
            value[rows_of(cell, gate)] = bias if name.startswith("bias_ih") else 0.0
        if name.startswith("weight_peephole"):
            value["ifo".index(gate) * H :][:H] = 0.0
        found[name] = value
    return found


def blind(named: Named) -> Named:
    """The weights without the peepholes."""
    return {name: value for name, value in named.items() if not name.startswith("weight_peephole")}


def with_zeros(named: Named, start: str) -> Named:
    return {
        name: torch.zeros_like(value) if name.startswith(start) else value for name, value in named.items()
    }


def test_peephole_with_zero_weights_is_the_lstm() -> None:
    case = replace(STACK, cell="peephole")
    named = with_zeros(leaves(case), "weight_peephole")
    all_same_sums(by_backend(case, named, "auto"), by_backend(STACK, blind(named), "auto"))


def test_coupled_is_the_lstm_with_tied_gates() -> None:
    """i = 1 - sigmoid(z_f) = sigmoid(-z_f)."""
    case = replace(STACK, cell="coupled")
    named = leaves(case)
    tied = {n: torch.cat([-value[:H], value]) if per_gate(n) else value for n, value in named.items()}
    all_same_sums(by_backend(STACK, tied, "auto"), by_backend(case, named, "auto"))


def test_coupled_peephole_with_zero_weights_is_coupled() -> None:
    case = replace(STACK, cell="coupled_peephole")
    named = with_zeros(leaves(case), "weight_peephole")
    all_same_sums(
        by_backend(case, named, "auto"), by_backend(replace(case, cell="coupled"), blind(named), "auto")
    )


def test_full_gate_recurrence_with_zero_matrices_is_the_peephole_lstm() -> None:
    case = replace(STACK, cell="full_gate_recurrence")
    named = with_zeros(leaves(case), "weight_gates")
    fewer = {
        n: v for n, v in named.items() if not n.startswith("weight_gates") and n not in ("i0", "f0", "o0")
    }
    found = by_backend(case, named, "auto")
    expected = by_backend(replace(case, cell="peephole"), fewer, "auto")
    all_same_sums({name: found[name] for name in expected}, expected)


@pytest.mark.parametrize(
    ("cell", "whole", "gate"),
    [
        ("original", "lstm", "f"),
        ("no_input_gate", "peephole", "i"),
        ("no_forget_gate", "peephole", "f"),
        ("no_output_gate", "peephole", "o"),
    ],
)
def test_a_cell_without_a_gate_is_the_whole_one_with_that_gate_at_1(cell: str, whole: str, gate: str) -> None:
    case = replace(STACK, cell=whole)
    named = held(leaves(case), whole, gate, OPEN)
    smaller = without_gate(named, whole, gate)
    all_same_sums(by_backend(replace(case, cell=cell), smaller, "auto"), by_backend(case, named, "auto"))


def test_the_cells_without_an_activation_differ_from_the_peephole_lstm_by_it_alone() -> None:
    """Where tanh is the identity to 1e-12: with a candidate and a first c of about 1e-6."""
    case = Case("peephole", bidirectional=True)
    named = {name: value.detach() * (1e-6 if name == "c0" else 1.0) for name, value in leaves(case).items()}
    for name, value in named.items():
        if per_gate(name):
            value[rows_of("peephole", "g")] *= 1e-6
    found = {
        cell: by_backend(replace(case, cell=cell), named, "auto") for cell in PAPERS if "activation" in cell
    }
    expected = by_backend(case, named, "auto")
    assert len(found) == 2
    for results in found.values():
        for name, value in expected.items():
            torch.testing.assert_close(results[name], value, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("cell", ["lstm", "peephole", "no_input_activation", "no_output_activation"])
def test_the_cell_state_is_constant_when_f_is_1_and_i_is_0(cell: str) -> None:
    case = Case(cell, layers=2, bidirectional=True, lengths=True)
    for backend in backends_of(case):
        named = held(held(leaves(case, torch.float32), cell, "i", -OPEN), cell, "f", OPEN)
        results = by_backend(case, named, backend)
        assert torch.equal(results["c_n"], named["c0"]), backend


@pytest.mark.parametrize("cell", ["coupled", "coupled_peephole"])
def test_the_coupled_cell_state_is_constant_when_f_is_1(cell: str) -> None:
    case = Case(cell, bidirectional=True)
    named = leaves(case, torch.float32)
    named = {n: v.detach().clone() for n, v in with_zeros(named, "weight_peephole").items()}
    for name, value in named.items():
        if per_gate(name):
            value[rows_of(cell, "f")] = OPEN if name.startswith("bias_ih") else 0.0
    assert torch.equal(by_backend(case, named, "auto")["c_n"], named["c0"])


@pytest.mark.parametrize("scaled", ["weight_ih", "weight_hh"])
def test_layernorm_does_not_see_the_scale_of_its_weights(scaled: str) -> None:
    case = replace(STACK, cell="layernorm")
    named = {n: v.detach() * (1e4 if n.startswith(scaled) else 1.0) for n, v in leaves(case).items()}
    once = by_backend(case, named, "auto")
    twice = by_backend(
        case, {n: v * (1e4 if n.startswith(scaled) else 1.0) for n, v in named.items()}, "auto"
    )
    for name, value in once.items():
        # eps is 1e-5, and the variances are about 1e5 and more, then 1e13.
        torch.testing.assert_close(twice[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_clip_holds_c_within_its_limit() -> None:
    case = Case("lstm", no_state=True, clip=True)
    named = leaves(case)
    trace = call(case, named, trace=True).trace
    assert trace is not None
    assert float(trace["c"].detach().abs().max()) == CLIP
    free = results_of(case, call(replace(case, clip=False), named))
    assert float(free["c_n"].detach().abs().max()) > CLIP


@pytest.mark.parametrize("cell", sorted(PAPERS))
def test_residual_adds_the_input_of_each_layer_after_the_first(cell: str) -> None:
    case = Case(cell, layers=2, bidirectional=True, residual=True)
    named = leaves(case)
    trace = call(case, named, trace=True).trace
    assert trace is not None
    own = torch.cat(list(trace["h"][1]), dim=2)
    below = torch.cat(list(trace["h"][0]), dim=2)
    same_sums(call(case, named).output, own + below)  # type: ignore[arg-type]


def product_of_gates(case: Case, named: Named) -> tuple[Tensor, Tensor]:
    """The gradient of the last c to the first, and what the forget gates alone make of it."""
    loss = loss_of({"c_n": by_backend(case, named, "auto")["c_n"]})
    trace = call(case, named, trace=True).trace
    assert trace is not None
    (found,) = torch.autograd.grad(loss, named["c0"])
    (straight,) = torch.autograd.grad(loss_of({"c_n": named["c0"]}), named["c0"])
    return found, straight * trace["f"][0, 0].prod(dim=0)


def test_without_recurrent_weights_the_gradient_of_c_is_the_product_of_the_forget_gates() -> None:
    """The constant error carousel of Hochreiter & Schmidhuber 1997, as Gers 2000 gave it a gate."""
    case = Case("lstm")
    named = leaves(case)
    with torch.no_grad():
        named["weight_hh.0.0"].zero_()
    found, expected = product_of_gates(case, named)
    torch.testing.assert_close(found[0], expected.squeeze(0), rtol=1e-12, atol=1e-14)
