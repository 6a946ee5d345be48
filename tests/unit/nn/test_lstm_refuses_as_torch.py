"""What torch.nn.LSTM refuses, holdfast.LSTM refuses too, in its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from holdfast.nn.lstm import LSTM

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation


def both(**options: Any) -> tuple[nn.LSTM, LSTM]:
    return nn.LSTM(I, H, **options), LSTM(I, H, **options)


def error_of(call: Callable[[], object]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is what the test compares
        call()
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_size": 0},
        {"input_size": -1},
        {"input_size": 2.5},
        {"hidden_size": 0},
        {"hidden_size": "5"},
        {"num_layers": 0},
        {"bias": 1},
        {"batch_first": None},
        {"dropout": 1.5},
        {"dropout": -0.1},
        {"dropout": True},
        {"proj_size": -1},
        {"proj_size": H},
    ],
    ids=str,
)
def test_it_refuses_the_arguments_that_torch_refuses(arguments: dict[str, Any]) -> None:
    given = {"input_size": I, "hidden_size": H, **arguments}
    their_type, their_message = error_of(lambda: nn.LSTM(**given))
    our_type, our_message = error_of(lambda: LSTM(**given))
    assert our_type is their_type
    assert our_message.startswith(their_message)


def zeros(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(shape) for shape in shapes)


@pytest.mark.parametrize(
    ("shape", "state"),
    [
        ((T,), None),
        ((1, T, B, I), None),
        ((T, B, I + 1), None),
        ((T, I + 1), None),
        ((0, B, I), None),
        ((T, B, I), ((1, B), (1, H))),
        ((T, I), ((1, 1, H), (1, 1, H))),
        ((T, B, I), ((1, B, H + 1), (1, B, H))),
        ((T, B, I), ((1, B, H), (1, B + 1, H))),
        ((T, B, I), ((2, B, H), (1, B, H))),
    ],
    ids=str,
)
def test_it_refuses_the_calls_that_torch_refuses(
    shape: tuple[int, ...], state: tuple[tuple[int, ...], ...] | None
) -> None:
    theirs, ours = both()
    given = None if state is None else zeros(*state)
    their_type, their_message = error_of(lambda: theirs(torch.zeros(shape), given))
    our_type, our_message = error_of(lambda: ours(torch.zeros(shape), given))
    assert our_type is their_type
    assert our_message == their_message


@pytest.mark.parametrize("state", [None, ((1, B, H), (1, B, H))], ids=["zeros", "given"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_t_0_raises_as_torch_does(bidirectional: bool, state: tuple[tuple[int, ...], ...] | None) -> None:
    theirs, ours = both(bidirectional=bidirectional)
    given = None if state is None else zeros(*((1 + bidirectional, *shape[1:]) for shape in state))
    for shape in ((0, B, I), (0, I)):
        x, start = torch.zeros(shape), given if len(shape) == 3 else None
        assert error_of(lambda: ours(x, start)) == error_of(lambda: theirs(x, start))  # noqa: B023


@pytest.mark.parametrize(
    ("features", "state"),
    [
        (I + 1, None),
        (I, ((1, 2, H), (1, B, H))),
        (I, ((1, B, H), (1, B, H + 1))),
        (I, ((2, B, H), (2, B, H))),
    ],
    ids=str,
)
def test_a_packed_sequence_fails_as_in_torch(
    features: int, state: tuple[tuple[int, ...], ...] | None
) -> None:
    theirs, ours = both()
    packed = pack_sequence([torch.zeros(length, features) for length in (6, 4, 1)])
    given = None if state is None else zeros(*state)
    # Of the same type; PyTorch leaves the words to its inner loop, which does not say what was wrong.
    assert error_of(lambda: ours(packed, given))[0] is error_of(lambda: theirs(packed, given))[0]


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_state_of_another_dtype_is_refused(wrong: int, cell: str) -> None:
    x, state = torch.zeros(T, B, I), list(zeros((1, B, H), (1, B, H)))
    state[wrong] = state[wrong].double()
    # What PyTorch says on CUDA; on a CPU it does not say what is wrong.
    message = "not the same dtype, found input tensor with torch.float32 and hidden tensor with torch.float64"
    with pytest.raises(RuntimeError, match=message):
        LSTM(I, H, cell=cell)(x, tuple(state))
    assert error_of(lambda: nn.LSTM(I, H)(x, tuple(state)))[0] is RuntimeError


def test_it_refuses_another_dtype_as_torch_does() -> None:
    theirs, ours = both()
    x = torch.zeros(T, B, I, dtype=torch.float64)
    assert error_of(lambda: ours(x)) == error_of(lambda: theirs(x))
    packed = pack_sequence([x[:, 0]])
    assert error_of(lambda: ours(packed))[0] is ValueError
