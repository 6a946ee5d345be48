"""What the words mean exactly, sentence by sentence: zoneout, dropout, masks, the trace and precision."""

from __future__ import annotations

import pytest
import torch
from contract.agreement import by_backend, call, loss_of, results_of
from contract.cases import (
    DROPOUT,
    GAL,
    NOISE_SEED,
    SEMENIUTA,
    ZONEOUT,
    B,
    Case,
    H,
    P,
    T,
    case_of,
    leaves,
    state_of,
    weights_of,
)
from contract.cell_properties import same_sums
from contract.loop import TORCH_SEED
from contract.papers import PAPERS, Named
from contract.philox_by_hand import CELL_DROPOUT, STATE_DROPOUT, ZONEOUT_C, ZONEOUT_H, mask
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from holdfast.cells import get
from holdfast.cells.modifiers import zoneout
from holdfast.errors import InputError
from holdfast.kernels import recurrence

CELL_NAMES = sorted(PAPERS)


def masks(
    width: int, probability: float, stream: int, *, layer: int = 0, d: int = 0, steps: int = T
) -> Tensor:
    """`[T, B, width]`."""
    rows = [
        [mask(width, probability, NOISE_SEED, layer, d, t, b, stream) for b in range(B)] for t in range(steps)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def trace_of(case: Case, named: Named) -> Named:
    trace = call(case, named, trace=True).trace
    assert trace is not None
    return {name: value.detach() for name, value in trace.items()}


def before(value: Tensor, given: Tensor, d: int) -> Tensor:
    """What each step of `[T, B, width]` started from."""
    return (
        torch.cat([given.unsqueeze(0), value[:-1]]) if d == 0 else torch.cat([value[1:], given.unsqueeze(0)])
    )


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_zoneout_keeps_old_values_and_acts_on_the_projected_h(cell: str, projection: bool) -> None:
    case = Case(cell, layers=2, bidirectional=True, zoneout=True, projection=projection)
    named, shown = leaves(case), trace_of(case, leaves(case))
    streams = {"h": (ZONEOUT[0], ZONEOUT_H), "c": (ZONEOUT[1], ZONEOUT_C)}
    for name in set(streams) & set(PAPERS[cell].states):
        for layer, d in ((0, 0), (0, 1), (1, 0), (1, 1)):
            value = shown[name][layer, d]
            assert value.size(2) == (P if projection and name == "h" else H)
            old = before(value, named[f"{name}0"][2 * layer + d].detach(), d)
            keep = masks(value.size(2), *streams[name], layer=layer, d=d)
            assert torch.equal(value == old, keep), (name, layer, d)


def test_h_is_computed_from_the_c_that_zoneout_has_not_touched() -> None:
    case = Case("lstm", zoneout=True)
    named = leaves(case)
    shown = trace_of(case, named)
    c = before(shown["c"][0, 0], named["c0"][0].detach(), 0)
    new = shown["f"][0, 0] * c + shown["i"][0, 0] * shown["g"][0, 0]
    h = shown["o"][0, 0] * torch.tanh(new)
    kept = masks(H, ZONEOUT[0], ZONEOUT_H)
    same_sums(shown["h"][0, 0][~kept], h[~kept])


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_zoneout_is_its_expectation_at_evaluation(cell: str) -> None:
    """p times the old value plus 1 - p times the new, for one step."""
    case, plain = Case(cell, expected_zoneout=True), Case(cell)
    named = leaves(case)
    named["x"] = named["x"][:1]
    found, new = results_of(case, call(case, named)), results_of(plain, call(plain, named))
    for name, p in zip("hc", ZONEOUT, strict=True):
        if name in PAPERS[cell].states:
            same_sums(found[f"{name}_n"], p * named[f"{name}0"] + (1 - p) * new[f"{name}_n"], name)


@pytest.mark.parametrize("cell", [name for name in CELL_NAMES if "c" in PAPERS[name].states])
def test_semeniutas_dropout_is_drawn_afresh_at_each_step(cell: str) -> None:
    """c moves by i g / (1 - p), or not at all, and the value named g is the undropped one."""
    case = Case(cell, semeniuta=True)
    named = leaves(case)
    shown = {name: value[0, 0] for name, value in trace_of(case, named).items()}
    drop = masks(H, SEMENIUTA, CELL_DROPOUT)
    assert not torch.equal(drop[0], drop[1])
    c, one = before(shown["c"], named["c0"][0].detach(), 0), torch.ones_like(shown["c"])
    i = shown.get("i", 1 - shown["f"] if cell.startswith("coupled") else one)
    expected = shown.get("f", one) * c + i * torch.where(drop, 0.0, shown["g"] / (1 - SEMENIUTA))
    same_sums(shown["c"], expected)


@pytest.mark.parametrize("projection", [False, True])
def test_gals_dropout_is_one_mask_per_sequence_for_all_gates_and_acts_on_the_projected_h(
    projection: bool,
) -> None:
    case = Case("lstm", gal=True, projection=projection)
    named = {name: value.detach() for name, value in leaves(case).items()}
    shown = {name: value[0, 0] for name, value in trace_of(case, named).items()}
    own = weights_of(case, named)[0][0]
    drop = masks(P if projection else H, GAL, STATE_DROPOUT, steps=1)
    entering = torch.where(drop, 0.0, before(shown["h"], named["h0"][0], 0) / (1 - GAL))
    z = named["x"] @ own["weight_ih"].T + entering @ own["weight_hh"].T + own["bias_ih"] + own["bias_hh"]
    for gate, value in zip("ifgo", z.split(H, dim=2), strict=True):
        same_sums(shown[gate], (torch.tanh if gate == "g" else torch.sigmoid)(value), gate)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gals_mask_changes_where_a_reset_begins_a_new_sequence(bidirectional: bool) -> None:
    """A run from the reset to the next one has the mask of the step of the reset, in both directions."""
    case = Case("rnn", gal=True, reset=True, bidirectional=bidirectional)
    named = {name: value.detach() for name, value in leaves(case).items()}
    d = int(bidirectional)
    shown = trace_of(case, named)["h"][0, d, :, 0]
    own = weights_of(case, named)[0][d]
    # Row 0 is reset at 2 and 3; steps 4 and 5 belong to the sequence that began at 3.
    drop = mask(H, GAL, NOISE_SEED, 0, d, 3, 0, STATE_DROPOUT)
    t, old = (4, 5) if bidirectional else (5, 4)
    entering = torch.where(drop, 0.0, shown[old] / (1 - GAL))
    z = own["weight_ih"] @ named["x"][t, 0] + own["weight_hh"] @ entering + own["bias_ih"] + own["bias_hh"]
    same_sums(shown[t], torch.tanh(z))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_dropout_between_layers_follows_torchs_order_and_generator(
    cell: str, backend: str, packed: bool
) -> None:
    case = case_of(cell, ("dropout", "bidirectional", "no_state"))
    named = leaves(case)
    kind = nn.LSTM if cell == "lstm" else nn.RNN
    layer = kind(3, H, 2, bidirectional=True, dropout=DROPOUT, dtype=torch.float64)
    with torch.no_grad():
        for name, value in named.items():
            if "." in name:
                parameter, number, d = name.split(".")
                getattr(layer, f"{parameter}_l{number}{'_reverse' * int(d)}").copy_(value)
    x = (
        pack_padded_sequence(named["x"], torch.tensor([2, 6, 3, 5]), enforce_sorted=False)
        if packed
        else named["x"]
    )
    torch.default_generator.manual_seed(TORCH_SEED)
    found = recurrence(get(cell), x, weights_of(case, named), dropout=DROPOUT, backend=backend).output
    torch.default_generator.manual_seed(TORCH_SEED)
    expected, _ = layer(x)
    same_sums(found.data, expected.data)


def test_masks_come_from_one_0_dim_int64_seed_per_call() -> None:
    case = Case("lstm", zoneout=True)
    named = leaves(case)
    inputs = (zoneout(get("lstm"), 0.5, 0.5), named["x"], weights_of(case, named))
    with pytest.raises(InputError, match="seed"):
        recurrence(*inputs)
    torch.default_generator.manual_seed(1)
    before_call = torch.get_rng_state()
    recurrence(*inputs, seed=torch.tensor(3))
    assert torch.equal(torch.get_rng_state(), before_call)


def test_a_negative_seed_is_a_seed_of_64_bits_too() -> None:
    case = Case("lstm", semeniuta=True, lengths=True)
    named = leaves(case)
    one, other = (call(case, named, seed=seed).output for seed in (-2, 2**63 - 2))
    assert not torch.equal(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_masks_do_not_depend_on_the_sizes_of_a_call(cell: str) -> None:
    """A mask belongs to the seed, layer, direction, t, b and unit: fewer rows and steps see the same ones."""
    case = Case(cell, zoneout=True, semeniuta=True, gal=True)
    named = leaves(case)
    fewer = {
        n: value[:, :2] if n == "x" or (n.endswith("0") and "." not in n) else value
        for n, value in named.items()
    }
    fewer["x"] = fewer["x"][:4]
    whole, part = call(case, named).output, call(case, fewer).output
    same_sums(part, whole[:4, :2])  # type: ignore[index, arg-type]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_trace_maps_each_name_to_l_d_t_b_width_in_time_order_with_zeros_in_padding(cell: str) -> None:
    case = Case(cell, layers=2, bidirectional=True, lengths=True, projection=True)
    shown = call(case, leaves(case), trace=True)
    assert shown.trace is not None
    assert list(shown.trace) == list(get(cell).values)
    for name, value in shown.trace.items():
        assert value.shape == (2, 2, T, B, P if name == "h" else H), name
        assert not value[:, :, ~case.valid].any(), name
    assert torch.equal(torch.cat(list(shown.trace["h"][1]), dim=2), shown.output)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_h_and_c_are_differentiable_and_gates_detached(cell: str) -> None:
    case = Case(cell)
    shown = call(case, leaves(case), trace=True).trace
    assert shown is not None
    assert {name for name, value in shown.items() if value.requires_grad} == set(PAPERS[cell].states)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_gradient_trace_gives_dgates_dh_and_dc_per_step(cell: str) -> None:
    case = Case(cell, layers=2, bidirectional=True, lengths=True)
    named = leaves(case)
    result = call(case, named, trace="gradients")
    assert result.taps is not None
    names = [*PAPERS[cell].gates, *(name for name in PAPERS[cell].states if name in "hc")]
    assert set(result.taps) == set(names)
    loss_of(results_of(case, result)).backward()
    for name, tap in result.taps.items():
        assert not tap.detach().any()
        assert tap.grad is not None
        assert tap.grad.shape == (2, 2, T, B, H)
        assert not tap.grad[:, :, ~case.valid].any()
        assert tap.grad[:, :, case.valid].all(), name
    for d in range(2):
        summed = torch.cat([result.taps[gate].grad[0, d].sum((0, 1)) for gate in PAPERS[cell].gates])  # type: ignore[index]
        bias = named[f"bias_ih.0.{d}"].grad
        assert bias is not None
        same_sums(summed, bias)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", [name for name in CELL_NAMES if "c" in PAPERS[name].states])
def test_inside_a_call_c_and_sums_are_float32_at_least(cell: str, dtype: torch.dtype) -> None:
    """The result is that of float32, rounded once."""
    case = Case(cell, layers=1, bidirectional=True, lengths=True)
    named = leaves(case, dtype)
    wide = {name: value.detach().float() for name, value in named.items()}
    found, expected = by_backend(case, named, "reference"), by_backend(case, wide, "reference")
    for name, value in expected.items():
        assert found[name].dtype == dtype
        torch.testing.assert_close(found[name], value.to(dtype), rtol=0.0, atol=0.0, msg=name)


def test_t_0_is_legal_in_kernels() -> None:
    for cell in CELL_NAMES:
        case = Case(cell, bidirectional=True, reset=True, zoneout=True)
        named = leaves(case)
        empty = torch.zeros(0, B, dtype=torch.bool)
        inputs = (zoneout(get(cell), 0.3), named["x"][:0], weights_of(case, named), state_of(case, named))
        result = recurrence(*inputs, torch.zeros(B, dtype=torch.int64), empty, seed=torch.tensor(1))
        assert result.output.shape == (0, B, 2 * H)  # type: ignore[union-attr]
        for name, value in zip(PAPERS[cell].states, result.state, strict=True):
            assert torch.equal(value, named[f"{name}0"])
