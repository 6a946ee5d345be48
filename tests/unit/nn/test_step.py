"""Frame by frame, in chunks, packed: the same numbers as the whole sequence, for every cell and keyword."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from holdfast.cells import CELLS
from holdfast.errors import ConfigError, InputError
from holdfast.nn.lstm import LSTM

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation
CLOSE: dict[str, float] = {"rtol": 1e-12, "atol": 1e-14}  # float64, the same sums in another order

rate = st.sampled_from([0.0, 0.3])
LAYERS = st.fixed_dictionaries(
    {
        "num_layers": st.integers(1, 3),
        "bias": st.booleans(),
        "batch_first": st.booleans(),
        "bidirectional": st.booleans(),
        "proj_size": st.sampled_from([0, 2]),
        "cell": st.sampled_from(list(CELLS)),
        "zoneout": rate,
        "recurrent_dropout": rate,
        "learn_initial_state": st.booleans(),
        "residual": st.booleans(),
    }
)


def evaluated(options: dict[str, Any]) -> LSTM:
    """A layer whose numbers depend on the options alone."""
    torch.default_generator.manual_seed(0)
    clip = {"cell_clip": 0.4} if "c" in CELLS[options["cell"]].states else {}
    layer = LSTM(I, H, **options, **clip, dtype=torch.float64).eval()
    with torch.no_grad():
        # Five normalised units with gains of 1 are chaotic, and so are their rounding errors.
        for name, parameter in layer.named_parameters():
            if name.startswith("gain"):
                parameter.mul_(0.2)
        for part in layer._learnt_state() or ():
            part.normal_()
    return layer


def sequences(layer: LSTM, batch: int = B) -> Tensor:
    shape = (batch, T, I) if layer.batch_first else (T, batch, I)
    return torch.randn(shape, dtype=torch.float64)


def check_states(found: Any, expected: Any) -> None:
    for part, other in zip(found, expected, strict=True):
        torch.testing.assert_close(part, other, **CLOSE)


@settings(max_examples=40)
@given(options=LAYERS, batched=st.booleans())
def test_step_by_step_equals_the_whole_sequence(options: dict[str, Any], batched: bool) -> None:
    layer = evaluated({**options, "bidirectional": False})
    x = sequences(layer)
    frames = (x.transpose(0, 1) if layer.batch_first else x).unbind(0)
    if not batched:
        frames, x = [frame[0] for frame in frames], torch.stack([frame[0] for frame in frames])
    whole, final = layer(x)
    state, outputs = None, []
    for frame in frames:
        output, state = layer.step(frame, state)
        outputs.append(output)
    axis = 1 if layer.batch_first and batched else 0
    torch.testing.assert_close(torch.stack(outputs, axis), whole, **CLOSE)
    assert type(state) is type(final)
    check_states(state, final)


@settings(max_examples=40)
@given(options=LAYERS, cut=st.integers(1, T - 1))
def test_chunked_equals_whole(options: dict[str, Any], cut: int) -> None:
    layer = evaluated({**options, "bidirectional": False})
    x, axis = sequences(layer), 1 if layer.batch_first else 0
    whole, final = layer(x)
    first, second = x.split([cut, T - cut], axis)
    start, state = layer(first)
    end, state = layer(second, state)
    torch.testing.assert_close(torch.cat([start, end], axis), whole, **CLOSE)
    check_states(state, final)


@settings(max_examples=40)
@given(options=LAYERS, lengths=st.lists(st.integers(1, T), min_size=B, max_size=B), resets=st.booleans())
def test_packed_equals_padded_with_lengths(options: dict[str, Any], lengths: list[int], resets: bool) -> None:
    layer = evaluated(options)
    x, longest = sequences(layer), max(lengths)
    reset = torch.rand(x.shape[:2]) < 0.3 if resets else None
    output, final = layer(x, lengths=lengths, reset=reset)
    packed = pack_padded_sequence(x, torch.tensor(lengths), layer.batch_first, enforce_sorted=False)
    if reset is not None:
        reset = reset[:, :longest] if layer.batch_first else reset[:longest]
    found, state = layer(packed, reset=reset)
    padded, _ = pad_packed_sequence(found, layer.batch_first, total_length=T)
    torch.testing.assert_close(padded, output, **CLOSE)
    check_states(state, final)


def test_the_steps_of_a_stream_and_a_call_exchange_their_state() -> None:
    layer, x = LSTM(I, H, 2, batch_first=True), torch.randn(B, T, I)
    _, state = layer(x[:, :-1])
    output, state = layer.step(x[:, -1], state)
    whole, final = layer(x)
    torch.testing.assert_close(output, whole[:, -1])
    torch.testing.assert_close(state, final)


def test_a_bidirectional_layer_has_no_step() -> None:
    with pytest.raises(ConfigError, match="step goes forward frame by frame, but the layer is bidirectional"):
        LSTM(I, H, bidirectional=True).step(torch.zeros(B, I))


@pytest.mark.parametrize(
    ("shape", "state", "message"),
    [
        ((T, B, I), None, "Expected input to be 1D or 2D, got 3D instead"),
        ((), None, "Expected input to be 1D or 2D, got 0D instead"),
        ((B, I + 1), None, r"input.size\(-1\) must be equal to input_size. Expected 4, got 5"),
        ((B, I), ((1, B, H), (1, 2, H)), r"Expected hidden\[1\] size \(1, 3, 5\), got \[1, 2, 5\]"),
        ((B, I), ((B, H), (B, H)), "should also be 3-D"),
        ((I,), ((1, 1, H), (1, 1, H)), "should also be 2-D"),
    ],
)
def test_frames_that_do_not_fit_are_refused(shape: Any, state: Any, message: str) -> None:
    given_state = None if state is None else tuple(map(torch.zeros, state))
    with pytest.raises((ValueError, RuntimeError), match=message):
        LSTM(I, H).step(torch.zeros(shape), given_state)


@pytest.mark.parametrize(
    ("options", "shape", "reset", "message"),
    [
        (
            {},
            (T, B, I),
            torch.zeros(B, T).bool(),
            r"reset must have the shape \[T, B\] = \[6, 3\], got \[3, 6\]",
        ),
        ({"batch_first": True}, (B, T, I), torch.zeros(T, B).bool(), r"\[B, T\] = \[3, 6\], got \[6, 3\]"),
        ({}, (T, I), torch.zeros(T, 1).bool(), r"\[T\] = \[6\], got \[6, 1\]"),
        ({}, (T, B, I), torch.zeros(T, B), "must be of torch.bool, .* got torch.float32"),
        ({}, (T, B, I), torch.zeros(T, B, dtype=torch.int64), "must be of torch.bool, .* got torch.int64"),
        ({}, (T, I), [0, 0, 1, 0, 0, 0], "must be of torch.bool, .* got torch.int64"),
        ({}, (T, I), "no", "reset must be True or False for each step of each row, got 'no'"),
        ({}, (T, B, I), [[True], [True, False]], "reset must be True or False for each step"),
    ],
)
def test_resets_that_do_not_fit_are_refused(
    options: dict[str, Any], shape: tuple[int, ...], reset: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LSTM(I, H, **options)(torch.zeros(shape), reset=reset)
