"""First values: torch's, orthogonal, chrono, the forget bias, and those of the cells' own parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

from holdfast.cells import CELLS
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

I, H, P = 4, 6, 3  # noqa: E741 - the letters of holdfast.notation
WITH_F = [name for name, cell in CELLS.items() if "f" in cell.gates]


def made(**options: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(I, H, 2, bidirectional=True, **options)


def rows(layer: LSTM, name: str, gate: str) -> Tensor:
    block: Tensor = getattr(layer, name).detach().chunk(len(layer.cell.gates))[layer.cell.gates.index(gate)]
    return block


def suffixes(layer: LSTM) -> list[str]:
    return [suffix for _, suffix in layer._suffixes()]


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if len(cell.gates) == 4])
def test_extra_parameters_are_registered_last_so_that_the_same_seed_gives_torchs_numbers_to_the_shared_ones(
    cell: str,
) -> None:
    layer = made(cell=cell, learn_initial_state=True)
    torch.manual_seed(0)
    theirs = nn.LSTM(I, H, 2, bidirectional=True)
    names, shared = [name for name, _ in layer.named_parameters()], list(theirs.state_dict())
    assert names[: len(shared)] == shared
    for name, value in theirs.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name
    own = [own.name + suffix for suffix in suffixes(layer) for own in layer.cell.parameters]
    assert names[len(shared) :] == [*own, *(f"initial_{state}" for state in layer.cell.states)]


def test_the_parameters_of_layer_normalisation_start_at_one_and_zero() -> None:
    layer = made(cell="layernorm")
    for suffix in suffixes(layer):
        for name, value in (("gain_ih", 1), ("gain_hh", 1), ("gain_c", 1), ("bias_c", 0)):
            assert (getattr(layer, name + suffix) == value).all(), name


@pytest.mark.parametrize("cell", WITH_F)
def test_forget_bias_sets_bias_ih_to_v_and_bias_hh_to_0_on_fs_rows(cell: str) -> None:
    plain, layer = made(cell=cell), made(cell=cell, forget_bias=1.5)
    for suffix in suffixes(layer):
        assert (rows(layer, "bias_ih" + suffix, "f") == 1.5).all()
        assert (rows(layer, "bias_hh" + suffix, "f") == 0).all()
        for name in ("bias_ih", "bias_hh"):
            for gate in set(layer.cell.gates) - {"f"}:
                assert torch.equal(rows(layer, name + suffix, gate), rows(plain, name + suffix, gate))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cell", CELLS)
def test_orthogonal_makes_each_gates_block_of_weight_hh_orthogonal(cell: str, dtype: torch.dtype) -> None:
    layer = made(cell=cell, init="orthogonal", dtype=dtype)
    eps = torch.finfo(dtype).eps
    for suffix in suffixes(layer):
        for gate in layer.cell.gates:
            block = rows(layer, "weight_hh" + suffix, gate).double()
            torch.testing.assert_close(
                block @ block.t(), torch.eye(H, dtype=torch.float64), rtol=0, atol=8 * eps
            )
            entering = rows(layer, "weight_ih" + suffix, gate)
            bound = (6 / (H + entering.size(1))) ** 0.5
            assert 0.5 * bound < entering.abs().max() <= bound * (1 + eps)
        assert not getattr(layer, "bias_ih" + suffix).any()
        assert not getattr(layer, "bias_hh" + suffix).any()


def test_orthogonal_with_a_projection() -> None:
    layer = made(init="orthogonal", proj_size=P, dtype=torch.float64)
    for suffix in suffixes(layer):
        narrow = getattr(layer, "weight_hr" + suffix).detach()
        torch.testing.assert_close(narrow @ narrow.t(), torch.eye(P, dtype=torch.float64))
        for gate in "ifgo":
            block = rows(layer, "weight_hh" + suffix, gate)
            torch.testing.assert_close(block.t() @ block, torch.eye(P, dtype=torch.float64))


def test_orthogonal_with_a_forget_bias() -> None:
    layer = made(init="orthogonal", forget_bias=1)
    assert (rows(layer, "bias_ih_l0", "f") == 1).all()
    assert (
        rows(layer, "weight_hh_l0", "f") @ rows(layer, "weight_hh_l0", "f").t() - torch.eye(H)
    ).abs().max() < 1e-6


@given(max_lag=st.one_of(st.integers(2, 10_000), st.floats(2, 1e6)), cell=st.sampled_from(WITH_F))
def test_init_chrono_takes_max_lag(max_lag: float, cell: str) -> None:
    layer, plain = made(cell=cell, init="chrono", max_lag=max_lag, dtype=torch.float64), None
    plain = made(cell=cell, dtype=torch.float64)
    for suffix in suffixes(layer):
        forget = rows(layer, "bias_ih" + suffix, "f")
        # The bias of a unit that forgets in tau steps is log(tau - 1); tau is at most max_lag.
        assert (forget >= 0).all()
        assert (forget <= torch.tensor(max_lag - 1.0, dtype=torch.float64).log() + 1e-12).all()
        chosen = {"f"}
        if "i" in layer.cell.gates:
            assert torch.equal(rows(layer, "bias_ih" + suffix, "i"), -forget)
            chosen.add("i")
        for gate in layer.cell.gates:
            if gate in chosen:
                assert not rows(layer, "bias_hh" + suffix, gate).any()
            else:
                assert torch.equal(
                    rows(layer, "bias_ih" + suffix, gate), rows(plain, "bias_ih" + suffix, gate)
                )
        for name in ("weight_ih", "weight_hh"):
            assert torch.equal(getattr(layer, name + suffix), getattr(plain, name + suffix))


def test_chrono_spreads_the_time_scales_evenly() -> None:
    layer = LSTM(1, 400, init="chrono", max_lag=101)
    scales = rows(layer, "bias_ih_l0", "f").exp().sort().values
    distance = ((scales - 1) / 99 - torch.linspace(0, 1, 400)).abs().max()
    assert distance < 1.95 / 400**0.5  # Kolmogorov and Smirnov's bound, passed by one seed in a thousand


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "layernorm"},
        {"init": "orthogonal"},
        {"init": "chrono", "max_lag": 9},
        {"forget_bias": 2.0},
        {"learn_initial_state": True, "proj_size": P},
    ],
    ids=str,
)
def test_reset_parameters_draws_all_of_it_again(options: dict[str, Any]) -> None:
    layer = made(**options)
    first = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7)
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, first[name]), name


class Scaled(nn.Module):
    def forward(self, stored: Tensor) -> Tensor:
        return 2 * stored

    def right_inverse(self, wanted: Tensor) -> Tensor:
        return wanted / 2


def test_reset_parameters_reaches_a_parametrised_weight() -> None:
    layer = made(init="orthogonal", dtype=torch.float64)
    parametrize.register_parametrization(layer, "weight_hh_l0", Scaled())
    before = layer.weight_hh_l0.detach().clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight_hh_l0, before)
    block = rows(layer, "weight_hh_l0", "g")
    torch.testing.assert_close(block @ block.t(), torch.eye(H, dtype=torch.float64))


@pytest.mark.parametrize("init", ["torch", "orthogonal", "chrono"])
def test_a_single_cell_starts_as_a_layer_does(init: str) -> None:
    options: dict[str, Any] = {"init": init, "max_lag": 20 if init == "chrono" else None, "cell": "peephole"}
    torch.manual_seed(1)
    single = LSTMCell(I, H, **options)
    torch.manual_seed(1)
    layer = LSTM(I, H, **options)
    for name, value in single.state_dict().items():
        assert torch.equal(layer.state_dict()[f"{name}_l0"], value), name


@pytest.mark.parametrize("options", [{}, {"init": "orthogonal"}, {"init": "chrono", "max_lag": 5}], ids=str)
def test_first_values_on_the_meta_device_draw_nothing(options: dict[str, Any]) -> None:
    before = torch.get_rng_state()
    assert LSTM(I, H, device="meta", **options).weight_hh_l0.is_meta
    assert torch.equal(before, torch.get_rng_state())
