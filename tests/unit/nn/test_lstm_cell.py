"""holdfast.LSTMCell against torch.nn.LSTMCell, and against the layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.cells import CELLS
from holdfast.errors import InputError
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell
from holdfast.notation import State

T, B, I, H = 4, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation


def both(**options: Any) -> tuple[nn.LSTMCell, LSTMCell]:
    torch.manual_seed(3)
    theirs = nn.LSTMCell(I, H, **options)
    torch.manual_seed(3)
    return theirs, LSTMCell(I, H, **options)


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_state_dict_and_first_values_are_torchs(bias: bool) -> None:
    theirs, ours = both(bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    assert repr(ours) == repr(theirs)
    assert (ours.bias_ih is None) == (theirs.bias_ih is None)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_results_and_gradients_to_the_bit(
    bias: bool, batched: bool, given_state: bool, dtype: torch.dtype
) -> None:
    theirs, ours = both(bias=bias, dtype=dtype)
    middle = (B,) if batched else ()
    x = torch.randn(*middle, I, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(*middle, H, dtype=dtype, requires_grad=True) for _ in "hc")
    inputs = [x, *state] if given_state else [x]
    found = []
    for module in (theirs, ours):
        h, c = module(x, state if given_state else None)
        loss = (h * h.detach().cos()).sum() + (c * c.detach().sin()).sum()
        found.append([h, c, *torch.autograd.grad(loss, [*inputs, *module.parameters()])])
    for expected, mine in zip(*found, strict=True):
        assert torch.equal(mine, expected)


def test_the_meta_device() -> None:
    for cell in CELLS:
        output, _ = LSTM(I, H, cell=cell, device="meta")(torch.empty(T, B, I, device="meta"))
        assert output.shape == (T, B, H)
        assert output.is_meta


@pytest.mark.parametrize("cell", CELLS)
def test_cell_by_cell_is_the_layer(cell: str) -> None:
    layer = LSTM(I, H, cell=cell, dtype=torch.float64, cell_clip=0.2 if cell != "rnn" else None, zoneout=0.3)
    single = LSTMCell(I, H, cell=cell, dtype=torch.float64, cell_clip=layer.cell_clip, zoneout=0.3)
    single.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    layer.eval()
    single.eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    output, final = layer(x)
    state = None
    for t in range(T):
        state = single(x[t], state)
        torch.testing.assert_close(state[0], output[t], rtol=1e-12, atol=1e-14)
    assert state is not None
    assert isinstance(state, State) == (layer.cell.states == ("h", "c"))
    for part, whole in zip(state, final, strict=True):
        torch.testing.assert_close(part, whole[0], rtol=1e-12, atol=1e-14)


def test_zoneout_and_dropout_draw_in_training_only() -> None:
    single = LSTMCell(I, H, zoneout=0.5, recurrent_dropout={"g": 0.5, "h": 0.5})
    x, state = torch.randn(B, I), (torch.ones(B, H), torch.ones(B, H))
    first, other = single(x, state), single(x, state)
    assert not torch.equal(first[0], other[0])
    assert (first[0] == 1).any()
    single.eval()
    before = torch.get_rng_state()
    assert torch.equal(single(x, state)[0], single(x, state)[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_returns_what_torch_returns(dtype: torch.dtype, given_state: bool) -> None:
    x, state = torch.randn(B, I).to(dtype), tuple(torch.randn(B, H) for _ in "hc") if given_state else None
    found = []
    for module in both():
        with torch.autocast("cpu", torch.bfloat16):
            found.append(module(x, state))
    for expected, mine in zip(*found, strict=True):
        assert mine.dtype == expected.dtype
        # A bfloat16 has 8 bits, and a step of values below 1 some six roundings.
        torch.testing.assert_close(mine, expected, rtol=0, atol=6 * 2.0**-8)


def zeros(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(map(torch.zeros, shapes))


@pytest.mark.parametrize(
    ("shape", "state"),
    [
        ((), None),
        ((2, B, I), None),
        ((B, I + 1), None),
        ((I + 1,), None),
        ((B, I), ((2, H), (B, H))),
        ((B, I), ((B, H), (2, H))),
        ((B, I), ((B, H + 1), (B, H))),
        ((B, I), ((B, H), (B, H + 1))),
        ((B, I), ((1, B, H), (B, H))),
        ((B, I), ((B, H), ())),
    ],
    ids=str,
)
def test_it_refuses_what_torch_refuses_in_its_words(
    shape: tuple[int, ...], state: tuple[tuple[int, ...], ...] | None
) -> None:
    given = None if state is None else zeros(*state)
    caught = []
    for module in both():
        with pytest.raises((ValueError, RuntimeError)) as error:
            module(torch.zeros(shape), given)
        caught.append((error.type, str(error.value)))
    assert caught[0] == caught[1]


@pytest.mark.parametrize(("shape", "parts"), [((B, I), ((H,), (H,))), ((I,), ((B, H), (B, H)))], ids=str)
def test_a_state_without_the_batch_of_the_input_is_refused(
    shape: tuple[int, ...], parts: tuple[tuple[int, ...], ...]
) -> None:
    for module in both():
        with pytest.raises(RuntimeError, match="hidden"):
            module(torch.zeros(shape), zeros(*parts))


def test_another_dtype_is_refused() -> None:
    for module in both():
        with pytest.raises(RuntimeError, match="must have the same dtype"):
            module(torch.zeros(B, I, dtype=torch.float64))


@pytest.mark.parametrize(
    ("cell", "state", "message"),
    [
        ("lstm", torch.zeros(B, H), r"\(h, c\), got Tensor"),
        ("lstm", (torch.zeros(B, H),), r"\(h, c\), got 1 tensors"),
        ("rnn", (torch.zeros(B, H),) * 2, r"\(h,\), got 2 tensors"),
    ],
)
def test_a_state_of_another_kind_is_refused(cell: str, state: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LSTMCell(I, H, cell=cell)(torch.zeros(B, I), state)


@pytest.mark.parametrize(
    "arguments", [{"input_size": 0}, {"hidden_size": -1}, {"hidden_size": 2.5}, {"bias": 1}]
)
def test_sizes_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
        LSTMCell(**{"input_size": I, "hidden_size": H, **arguments})


def test_the_cells_own_parameters_come_last_without_a_suffix() -> None:
    assert [name for name, _ in LSTMCell(I, H, cell="peephole").named_parameters()] == [
        "weight_ih",
        "weight_hh",
        "bias_ih",
        "bias_hh",
        "weight_peephole",
    ]


def test_it_shows_what_is_not_torchs() -> None:
    single = LSTMCell(I, H, False, cell="coupled", zoneout=(0.1, 0), init="orthogonal")
    assert repr(single) == "LSTMCell(4, 5, bias=False, cell='coupled', zoneout=(0.1, 0.0), init='orthogonal')"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda cell: pickle.loads(pickle.dumps(cell))])
def test_copies(duplicate: Callable[[LSTMCell], LSTMCell]) -> None:
    single = LSTMCell(I, H, cell="layernorm", zoneout=0.2, cell_clip=1).eval()
    x = torch.randn(B, I)
    assert torch.equal(duplicate(single)(x)[0], single(x)[0])


@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_the_state_may_be_detached_and_changed_in_place(cell: str) -> None:
    """As in truncated back-propagation through time, and where an episode ends."""
    single, layer, x = LSTMCell(I, H, cell=cell), LSTM(I, H, cell=cell), torch.randn(T, B, I)
    for state in (single(x[0]), layer(x)[1], layer.step(x[0])[1]):
        state[0][..., 0, :] = 0
        for part in state:
            part.detach_()
            assert not part.requires_grad
