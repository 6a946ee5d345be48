"""To PyTorch's modules and back: equal results, and a refusal that names what PyTorch lacks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from holdfast.cells import CELLS
from holdfast.errors import ConfigError
from holdfast.kernels import backends
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

T, B, I, H = 5, 3, 4, 6  # noqa: E741 - the letters of holdfast.notation

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [tensor for part in result for tensor in tensors(part)]


def check_equal(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Equal to the bit: results under a seed, parameters by name, and what belongs to them."""
    found = []
    for module in (one, other):
        if isinstance(module, LSTM):
            module.backend = "torch"  # which makes the calls that PyTorch's own layer makes
        torch.manual_seed(5)
        found.append(tensors(module(x)))
    for mine, yours in zip(*found, strict=True):
        assert torch.equal(mine, yours)
    assert one.training == other.training
    mine, yours = dict(one.named_parameters()), dict(other.named_parameters())
    assert list(mine) == list(yours)
    for name, value in yours.items():
        assert torch.equal(mine[name], value), name
        assert (mine[name].dtype, mine[name].device) == (value.dtype, value.device), name
        assert mine[name].requires_grad == value.requires_grad, name
        assert mine[name].data_ptr() != value.data_ptr(), name


LAYERS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first, "proj_size": proj}
    for layers, both, bias, first, proj in itertools.product(
        (1, 2), (False, True), (True, False), (False, True), (0, 2)
    )
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", LAYERS, ids=lambda options: "-".join(map(str, options.values())))
def test_a_layer_there_and_back_gives_equal_results(options: dict[str, Any], dtype: torch.dtype) -> None:
    theirs = nn.LSTM(I, H, **options, dtype=dtype)
    ours = LSTM.from_torch(theirs)
    x = torch.randn(T, B, I, dtype=dtype)
    check_equal(ours, theirs, x)
    back = ours.to_torch()
    assert type(back) is nn.LSTM
    assert repr(back) == repr(theirs)
    check_equal(back, theirs, x)


@pytest.mark.parametrize("both", [False, True])
def test_a_tanh_rnn_becomes_the_cell_rnn(both: bool) -> None:
    theirs = nn.RNN(I, H, 2, bidirectional=both, dropout=0.5)
    ours = LSTM.from_torch(theirs)
    assert ours.cell.name == "rnn"
    x = torch.randn(T, B, I)
    check_equal(ours, theirs, x)
    back = ours.to_torch()
    assert type(back) is nn.RNN
    check_equal(back, theirs, x)


@pytest.mark.parametrize("bias", [True, False])
def test_single_cells(bias: bool) -> None:
    x = torch.randn(B, I, dtype=torch.float64)
    for theirs in (
        nn.LSTMCell(I, H, bias, dtype=torch.float64),
        nn.RNNCell(I, H, bias, dtype=torch.float64).eval(),
    ):
        ours = LSTMCell.from_torch(theirs)
        back = ours.to_torch()
        assert type(back) is type(theirs)
        check_equal(back, theirs, x)
        # One sum less or more in another order.
        for mine, yours in zip(tensors(ours(x)), tensors(theirs(x)), strict=True):
            torch.testing.assert_close(mine, yours, rtol=1e-14, atol=1e-15)


def test_mode_frozen_parameters_dropout_and_the_random_state_are_kept() -> None:
    theirs = nn.LSTM(I, H, 2, dropout=0.5).eval()
    theirs.weight_hh_l1.requires_grad_(False)
    before = torch.get_rng_state()
    ours = LSTM.from_torch(theirs)
    back = ours.to_torch()
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.randn(T, B, I)
    for module in (ours, back):
        assert module.dropout == 0.5
        check_equal(module, theirs, x)
        check_equal(module.train(), theirs.train(), x)
        theirs.eval()


def test_dropout_that_has_no_effect_warns_no_second_time() -> None:
    with pytest.warns(UserWarning, match="dropout option"):
        theirs = nn.LSTM(I, H, dropout=0.5)
    assert LSTM.from_torch(theirs).to_torch().dropout == 0.5


def test_each_direction_of_the_exchange_has_its_own_memory() -> None:
    theirs = nn.LSTM(I, H)
    ours = LSTM.from_torch(theirs)
    with torch.no_grad():
        ours.weight_ih_l0.zero_()
    assert theirs.weight_ih_l0.any()


def test_a_subclass_that_computes_the_same_is_taken() -> None:
    class Named(nn.LSTM):
        label = "mine"

    theirs = Named(I, H)
    check_equal(LSTM.from_torch(theirs), theirs, torch.randn(T, B, I))


class Other(nn.LSTM):
    def forward(self, *arguments: Any) -> Any:
        return super().forward(*arguments)


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (nn.GRU(I, H), "got GRU"),
        (nn.RNN(I, H, nonlinearity="relu"), "got one with nonlinearity='relu'"),
        (nn.LSTMCell(I, H), "got LSTMCell"),
        (Other(I, H), "got Other"),
        (LSTM(I, H), "got LSTM"),
        ("lstm", "got str"),
    ],
    ids=repr,
)
def test_from_torch_refuses_other_modules(module: Any, got: str) -> None:
    with pytest.raises(
        ConfigError, match=f"from_torch takes a torch.nn.LSTM, or a torch.nn.RNN with tanh; {got}"
    ):
        LSTM.from_torch(module)


def test_from_torch_of_a_single_cell_refuses_other_modules() -> None:
    with pytest.raises(
        ConfigError, match=r"takes a torch.nn.LSTMCell, or a torch.nn.RNNCell with tanh; got GRUCell"
    ):
        LSTMCell.from_torch(nn.GRUCell(I, H))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "lacking"),
    [
        *(({"cell": name}, f"cell='{name}'") for name in CELLS if name not in ("lstm", "rnn")),
        ({"recurrent_dropout": 0.1}, "recurrent_dropout=0.1"),
        ({"recurrent_dropout": {"h": 0.1}}, "recurrent_dropout={'h': 0.1}"),
        ({"zoneout": (0.0, 0.1)}, r"zoneout=\(0.0, 0.1\)"),
        ({"weight_drop": 0.5}, "weight_drop=0.5"),
        ({"cell_clip": 2.0}, "cell_clip=2.0"),
        ({"learn_initial_state": True}, "learn_initial_state=True"),
        ({"residual": True, "num_layers": 2}, "residual=True"),
        ({"zoneout": 0.1, "residual": True}, "zoneout=0.1, residual=True"),
        ({"cell": "rnn", "proj_size": 2}, "proj_size=2"),
    ],
    ids=str,
)
def test_to_torch_names_what_torch_lacks(options: dict[str, Any], lacking: str) -> None:
    with pytest.raises(ConfigError, match=rf"to_torch: torch.nn.\w+ has no {lacking}, so it cannot"):
        LSTM(I, H, **options).to_torch()
    shared = {name: value for name, value in options.items() if name in ("cell", "zoneout", "cell_clip")}
    if shared == options:
        with pytest.raises(ConfigError, match=rf"to_torch: torch.nn.LSTMCell has no {lacking}, so it cannot"):
            LSTMCell(I, H, **options).to_torch()


@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "init": st.sampled_from(["torch", "orthogonal"]),
            "forget_bias": st.floats(-1, 1),
            "backend": st.sampled_from([status.name for status in backends() if status.available] + ["auto"]),
            "zoneout": st.just(0.0),
            "recurrent_dropout": st.sampled_from([0.0, {}, {"h": 0.0}]),
        },
    )
)
def test_what_says_how_parameters_start_or_where_calls_run_hinders_nothing(options: dict[str, Any]) -> None:
    ours = LSTM(I, H, **options)
    x = torch.randn(T, B, I)
    torch.testing.assert_close(ours.to_torch()(x)[0], ours(x)[0], rtol=1e-5, atol=1e-6)


def test_parametrised_weights_are_refused() -> None:
    theirs, ours = nn.LSTM(I, H), LSTM(I, H)
    for module in (theirs, ours):
        parametrizations.weight_norm(module, "weight_hh_l0")
    with pytest.raises(ConfigError, match=r"weight_hh_l0 is not a parameter of the .*LSTM but computed"):
        LSTM.from_torch(theirs)
    with pytest.raises(ConfigError, match=r"weight_hh_l0 is not a parameter of the .*LSTM but computed"):
        ours.to_torch()
