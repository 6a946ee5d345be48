"""What the words mean exactly, sentence by sentence: weights, state, lengths and resets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from contract.agreement import by_backend, call, results_of
from contract.cases import (
    LENGTHS,
    B,
    Case,
    H,
    I,
    P,
    T,
    case_of,
    leaves,
    reset_of,
    start_of,
    state_of,
    weights_of,
)
from contract.cell_properties import all_same_sums, same_sums
from contract.papers import PAPERS, Named
from torch import Tensor

from holdfast.cells import CELLS, get
from holdfast.kernels import recurrence
from holdfast.notation import State

CELL_NAMES = sorted(PAPERS)


def one_step(cell: str, **options: Any) -> tuple[Named, dict[str, Tensor], Named]:
    """A single step from a drawn state: what went in, W x + R h + b by gate `[B, H]`, and every value."""
    case = Case(cell, **options)
    named = {name: value.detach() for name, value in leaves(case).items()}
    named["x"] = named["x"][:1]
    trace = recurrence(
        get(cell), named["x"], weights_of(case, named), state_of(case, named), trace=True
    ).trace
    assert trace is not None
    own = weights_of(case, named)[0][0]
    z = (
        named["x"][0] @ own["weight_ih"].T
        + named["h0"][0] @ own["weight_hh"].T
        + own["bias_ih"]
        + own["bias_hh"]
    )
    gates = dict(zip(PAPERS[cell].gates, z.split(H, dim=1), strict=True))
    return named | own, gates, {name: value[0, 0, 0] for name, value in trace.items()}


@pytest.mark.parametrize("cell", sorted(set(PAPERS) & set(CELLS)))
def test_rows_of_the_weights_are_the_gates_in_the_order_i_f_g_o_minus_those_a_cell_lacks(cell: str) -> None:
    assert [gate for gate in "ifgo" if gate in CELLS[cell].gates] == list(CELLS[cell].gates)


def test_lstm_has_rows_i_f_g_o() -> None:
    named, z, found = one_step("lstm")
    expected = {gate: (torch.tanh if gate == "g" else torch.sigmoid)(value) for gate, value in z.items()}
    expected["c"] = expected["f"] * named["c0"][0] + expected["i"] * expected["g"]
    expected["h"] = expected["o"] * torch.tanh(expected["c"])
    all_same_sums(found, expected)


def test_coupled_has_rows_f_g_o_with_i_equal_to_1_minus_f() -> None:
    named, z, found = one_step("coupled")
    f = torch.sigmoid(z["f"])
    assert list(z) == ["f", "g", "o"]
    same_sums(found["c"], f * named["c0"][0] + (1 - f) * torch.tanh(z["g"]))


def test_original_has_rows_i_g_o() -> None:
    named, z, found = one_step("original")
    assert list(z) == ["i", "g", "o"]
    same_sums(found["c"], named["c0"][0] + torch.sigmoid(z["i"]) * torch.tanh(z["g"]))


def test_rnn_has_one_row_block_and_state_h() -> None:
    named, z, found = one_step("rnn")
    assert get("rnn").states == ("h",)
    assert named["weight_ih"].shape == (H, I)
    same_sums(found["h"], torch.tanh(z["g"]))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_two_bias_vectors_add(cell: str) -> None:
    case = Case(cell)
    named = leaves(case)
    moved = dict(named)
    moved["bias_ih.0.0"] = named["bias_ih.0.0"] + named["bias_hh.0.0"]
    moved["bias_hh.0.0"] = torch.zeros_like(named["bias_hh.0.0"])
    all_same_sums(by_backend(case, moved, "auto"), by_backend(case, named, "auto"))


def test_weight_peephole_is_3_h_with_rows_i_f_o_and_o_sees_the_new_c() -> None:
    named, z, found = one_step("peephole")
    assert named["weight_peephole"].shape == (3 * H,)
    p_i, p_f, p_o = named["weight_peephole"].split(H)
    c = named["c0"][0]
    same_sums(found["i"], torch.sigmoid(z["i"] + p_i * c))
    same_sums(found["f"], torch.sigmoid(z["f"] + p_f * c))
    same_sums(found["o"], torch.sigmoid(z["o"] + p_o * found["c"]))


def test_layernorm_is_gamma_x_ln_w_x_plus_gamma_h_ln_r_h_plus_b_over_all_g_h_with_eps_1e_5() -> None:
    named, _, found = one_step("layernorm")

    def normalised(a: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(a, a.shape[-1:], eps=1e-5)

    from_input = named["gain_ih"] * normalised(named["x"][0] @ named["weight_ih"].T)
    recurrent = named["gain_hh"] * normalised(named["h0"][0] @ named["weight_hh"].T)
    i, f, g, o = (from_input + recurrent + named["bias_ih"] + named["bias_hh"]).split(H, dim=1)
    c = torch.sigmoid(f) * named["c0"][0] + torch.sigmoid(i) * torch.tanh(g)
    same_sums(found["c"], c, "the stored c is not normalised")
    h = torch.sigmoid(o) * torch.tanh(named["gain_c"] * normalised(c) + named["bias_c"])
    same_sums(found["h"], h)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_state_is_h_of_l_d_b_p_or_h_and_c_of_l_d_b_h(cell: str, projection: bool) -> None:
    case = Case(cell, layers=2, bidirectional=True, projection=projection)
    result = call(case, leaves(case))
    widths = [P if projection and name == "h" else H for name in PAPERS[cell].states]
    assert [part.shape for part in result.state] == [(4, B, width) for width in widths]
    assert isinstance(result.state, State) == (PAPERS[cell].states == ("h", "c"))


def test_with_projection_peepholes_see_c() -> None:
    named, z, found = one_step("peephole", projection=True)
    p_i, _, p_o = named["weight_peephole"].split(H)
    same_sums(found["i"], torch.sigmoid(z["i"] + p_i * named["c0"][0]))
    o = torch.sigmoid(z["o"] + p_o * found["c"])
    same_sums(found["h"], (o * torch.tanh(found["c"])) @ named["weight_hr"].T)


WITH_LENGTHS = [
    case_of(cell, names)
    for cell in CELL_NAMES
    for names in (("lengths", "layers", "bidirectional"), ("lengths", "bidirectional", "projection", "reset"))
]


@pytest.mark.parametrize("case", WITH_LENGTHS, ids=lambda case: f"{case.cell}-{case}")
def test_padded_output_is_exact_zeros_and_gets_no_gradient(case: Case) -> None:
    named = leaves(case)
    output = by_backend(case, named, "auto")["output"]
    assert not output[~case.valid].any()
    (gradient,) = torch.autograd.grad(output.sum(), named["x"])
    assert not gradient[~case.valid].any()
    assert gradient[case.valid].all()


@pytest.mark.parametrize("case", WITH_LENGTHS[::2], ids=lambda case: case.cell)
def test_the_final_state_is_the_state_after_each_rows_last_valid_step(case: Case) -> None:
    """And the reverse direction starts there from the given state and ends after step 0: each row alone."""
    named = leaves(case)
    whole = call(case, named)
    for b, length in enumerate(LENGTHS):
        if length > 0:
            given = tuple(part[:, b : b + 1] for part in state_of(case, named) or ())
            x = named["x"][:length, b : b + 1]
            alone = recurrence(get(case.cell), x, weights_of(case, named), given)
            same_sums(whole.output[:length, b : b + 1], alone.output)  # type: ignore[index, arg-type]
            for one, other in zip(whole.state, alone.state, strict=True):
                same_sums(one[:, b : b + 1], other, f"row {b}")


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_reverse_direction_starts_at_each_rows_last_valid_step_from_the_given_state(cell: str) -> None:
    """So the output there depends on the given state through one step alone."""
    case = Case(cell, bidirectional=True, lengths=True)
    named = leaves(case)
    output = call(case, named).output
    for b, length in enumerate(LENGTHS):
        if length > 0:
            x = named["x"][length - 1 : length, b : b + 1]
            own = [[weights_of(case, named)[0][1]]]
            given = tuple(part[1:, b : b + 1] for part in state_of(case, named) or ())
            same_sums(output[length - 1, b, H:], recurrence(get(cell), x, own, given).output[0, 0])  # type: ignore[index]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_length_0_gives_output_zeros_and_leaves_the_state_unchanged(cell: str) -> None:
    case = Case(cell, bidirectional=True, lengths=True, reset=True, start=True)
    named = leaves(case)
    result, empty = results_of(case, call(case, named)), LENGTHS.index(0)
    assert not result["output"][:, empty].any()
    for name in PAPERS[cell].states:
        assert torch.equal(result[f"{name}_n"][:, empty], named[f"{name}0"][:, empty])


def cut(cell: str, d: int, t: int) -> tuple[Case, Named, Tensor, Any]:
    """A reset of row 0 at t in a sequence of one direction d, and that row's result."""
    case = Case(cell, bidirectional=True)
    named = {name: value.detach() for name, value in leaves(case).items()}
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[t, 0] = True
    weights = weights_of(case, named)
    result = recurrence(get(cell), named["x"], weights, state_of(case, named), reset=reset)
    return case, named, result.output[:, 0, d * H : (d + 1) * H], result  # type: ignore[index]


def fresh(case: Case, named: Named, d: int, x: Tensor) -> Tensor:
    """The output `[T, H]` of direction d alone over `x` of row 0, from zeros."""
    return recurrence(
        get(case.cell), x[:, :1].flip(0) if d else x[:, :1], [[weights_of(case, named)[0][d]]]
    ).output[:, 0]  # type: ignore[index]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_true_at_t_means_that_t_begins_a_new_sequence(cell: str) -> None:
    """Forward re-initialises before t, reverse after t."""
    case, named, forward, _ = cut(cell, 0, 2)
    same_sums(forward[2:], fresh(case, named, 0, named["x"][2:]))
    case, named, backward, _ = cut(cell, 1, 2)
    same_sums(backward[:2].flip(0), fresh(case, named, 1, named["x"][:2]))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_reset_in_the_first_step_leaves_the_reverse_direction_with_the_start(cell: str) -> None:
    *_, result = cut(cell, 1, 0)
    for part in result.state:
        assert not part[1, 0].any()
        assert part[0, 0].any()


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_reset_re_initialises_to_zeros_or_the_start_never_to_the_given_state(cell: str, start: bool) -> None:
    """With a reset in the first step no result of the forward direction depends on the given state."""
    case = Case(cell, reset=True, start=start)
    named = leaves(case)
    state, begins = state_of(case, named), start_of(case, named)
    reset = reset_of(case)
    assert reset is not None
    assert state is not None
    result = recurrence(get(cell), named["x"], weights_of(case, named), state, reset=reset, start=begins)
    rows = [b for b in range(B) if reset[0, b]]
    assert rows
    from_given = torch.autograd.grad(result.output[:, rows].sum(), state, retain_graph=True)  # type: ignore[index]
    assert not any(gradient.any() for gradient in from_given)
    first = torch.zeros(B) if begins is None else begins
    expected = recurrence(
        get(cell),
        named["x"][:1],
        weights_of(case, named),
        None if begins is None else tuple(part.unsqueeze(1).expand(-1, B, -1) for part in first),
    )
    same_sums(result.output[0, rows], expected.output[0, rows])  # type: ignore[index]


def test_resets_in_padding_mean_nothing() -> None:
    for cell, bidirectional in itertools.product(CELL_NAMES, (False, True)):
        case = Case(cell, lengths=True, bidirectional=bidirectional)
        named = leaves(case)
        lengths = torch.tensor(LENGTHS)
        inputs = (get(cell), named["x"], weights_of(case, named), state_of(case, named), lengths)
        marked, plain = recurrence(*inputs, ~case.valid), recurrence(*inputs, torch.zeros_like(case.valid))
        assert torch.equal(marked.output, plain.output)  # type: ignore[arg-type]
        for one, other in zip(marked.state, plain.state, strict=True):
            assert torch.equal(one, other)
