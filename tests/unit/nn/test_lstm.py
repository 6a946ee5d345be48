"""What holdfast.LSTM adds to torch's layer: cells, lengths, the trace, the choice of a backend."""

from __future__ import annotations

import copy
import doctest
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import holdfast
from holdfast.cells import CELLS
from holdfast.errors import BackendError, ConfigError, InputError
from holdfast.nn import lstm
from holdfast.nn.lstm import LSTM
from holdfast.notation import State

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation


def double_layer(**options: Any) -> LSTM:
    return LSTM(I, H, dtype=torch.float64, **options)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_extra_parameters_come_last_and_leave_the_others_their_numbers() -> None:
    torch.manual_seed(0)
    plain = LSTM(I, H, 2, bidirectional=True)
    torch.manual_seed(0)
    peephole = LSTM(I, H, 2, bidirectional=True, cell="peephole")
    shared, all_names = list(plain.state_dict()), list(peephole.state_dict())
    assert all_names[: len(shared)] == shared
    assert all_names[len(shared) :] == [
        "weight_peephole_l0",
        "weight_peephole_l0_reverse",
        "weight_peephole_l1",
        "weight_peephole_l1_reverse",
    ]
    for name, value in plain.state_dict().items():
        assert torch.equal(peephole.state_dict()[name], value), name
    own = peephole.state_dict()["weight_peephole_l0"]
    assert own.shape == (3 * H,)
    assert 0 < own.abs().max() <= H**-0.5


@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_rnn_is_torchs_rnn(bidirectional: bool, lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    theirs = nn.RNN(I, H, 2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    torch.manual_seed(0)
    ours = double_layer(num_layers=2, batch_first=True, bidirectional=bidirectional, cell="rnn")
    x = draw(B, T, I)
    entering: Any = x
    if lengths is not None:
        entering = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    _, h = theirs(entering)
    output, state = ours(x, lengths=lengths)
    assert isinstance(state, tuple)
    assert not isinstance(state, State)
    torch.testing.assert_close(state, (h,), rtol=1e-12, atol=1e-14)
    again, _ = ours(x, state, lengths=lengths)
    assert not torch.equal(again, output)


@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_each_row_is_as_if_it_were_alone(cell: str) -> None:
    layer = double_layer(num_layers=2, batch_first=True, bidirectional=True, cell=cell)
    x, lengths = draw(B, T, I), [4, 6, 1]
    output, state = layer(x, lengths=lengths)
    for b, length in enumerate(lengths):
        alone, own = layer(x[b, :length])
        torch.testing.assert_close(output[b, :length], alone, rtol=1e-12, atol=1e-14)
        assert not output[b, length:].any()
        for part, own_part in zip(state, own, strict=True):
            torch.testing.assert_close(part[:, b], own_part, rtol=1e-12, atol=1e-14)


INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
@pytest.mark.parametrize("kind", [list, tuple, np.array, *INTEGERS], ids=str)
def test_lengths_of_any_integer_kind(kind: Any, backend: str, bidirectional: bool) -> None:
    layer, x = double_layer(backend=backend, bidirectional=bidirectional), draw(T, B, I)
    expected, _ = layer(x, lengths=torch.tensor([4, 6, 1]))
    given = torch.tensor([4, 6, 1], dtype=kind) if isinstance(kind, torch.dtype) else kind([4, 6, 1])
    assert torch.equal(layer(x, lengths=given)[0], expected)


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_an_empty_batch_has_no_lengths(backend: str) -> None:
    output, (h, c) = LSTM(I, H, backend=backend)(torch.zeros(T, 0, I), lengths=[])
    assert (output.shape, h.shape, c.shape) == ((T, 0, H), (1, 0, H), (1, 0, H))


def test_full_lengths_are_the_dense_call_to_the_bit() -> None:
    layer, x = LSTM(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    assert torch.equal(layer(x, lengths=[T] * B)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([6, 2], r"shape \[3\], got \[2\]"),
        ([[6, 2, 1]], r"shape \[3\], got \[1, 3\]"),
        ([6, 2, 7], "between 0 and T = 6, got 2 to 7"),
        ([6, -1, 2], "between 0 and T = 6, got -1 to 6"),
        ([6.0, 2.0, 1.0], "must be integers, got torch.float32"),
        ([True, True, False], "must be integers, got torch.bool"),
        ([], r"shape \[3\], got \[0\]"),
        (5, r"shape \[3\], got \[\]"),
        ([6, [2], 1], r"must be integers, one per row, got \[6, \[2\], 1\]"),
        (["6", "2", "1"], "must be integers, one per row, got "),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LSTM(I, H)(torch.zeros(T, B, I), lengths=lengths)


def test_lengths_need_a_batch_that_is_not_packed() -> None:
    layer = LSTM(I, H)
    with pytest.raises(InputError, match="without a batch axis"):
        layer(torch.zeros(T, I), lengths=[3])
    packed = pack_padded_sequence(torch.zeros(T, 1, I), torch.tensor([3]))
    with pytest.raises(InputError, match="carries its own"):
        layer(packed, lengths=[3])


@pytest.mark.parametrize(
    ("cell", "state", "message"),
    [
        ("lstm", torch.zeros(1, B, H), r"\(h, c\), got Tensor"),
        ("lstm", (torch.zeros(1, B, H),), r"\(h, c\), got 1 tensors"),
        ("rnn", torch.zeros(1, B, H), r"\(h,\), got Tensor"),
        ("rnn", (torch.zeros(1, B, H),) * 2, r"\(h,\), got 2 tensors"),
    ],
)
def test_a_state_of_another_kind_is_refused(cell: str, state: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LSTM(I, H, cell=cell)(torch.zeros(T, B, I), state)


def test_trace_layouts() -> None:
    options = {"num_layers": 2, "bidirectional": True}
    layer = LSTM(I, H, **options)  # type: ignore[arg-type]
    x = torch.randn(T, B, I)
    _, _, trace = layer(x, return_trace=True)
    assert {name: tuple(value.shape) for name, value in trace.items()} == dict.fromkeys(
        "ifgoch", (2, 2, T, B, H)
    )
    other = LSTM(I, H, batch_first=True, **options)  # type: ignore[arg-type]
    other.load_state_dict(layer.state_dict())
    _, _, turned = other(x.transpose(0, 1), return_trace=True)
    for name, value in trace.items():
        assert torch.equal(turned[name], value.transpose(2, 3)), name
    _, _, alone = layer(x[:, 0], return_trace=True)
    assert alone["c"].shape == (2, 2, T, H)
    torch.testing.assert_close(alone["c"], trace["c"][:, :, :, 0])


def test_the_trace_of_a_packed_sequence_is_in_the_callers_order() -> None:
    layer, x, lengths = double_layer(), draw(T, B, I), torch.tensor([2, 6, 4])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    _, _, from_packed = layer(packed, return_trace=True)
    _, _, from_padded = layer(x, lengths=lengths, return_trace=True)
    for name, value in from_padded.items():
        torch.testing.assert_close(from_packed[name], value, rtol=1e-12, atol=1e-14)


def test_the_trace_changes_nothing() -> None:
    layer, x = double_layer(num_layers=2, bidirectional=True), draw(T, B, I)
    output, state = layer(x, lengths=[5, 0, 6])
    traced, traced_state, _ = layer(x, lengths=[5, 0, 6], return_trace=True)
    torch.testing.assert_close(traced, output, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(traced_state, state, rtol=1e-12, atol=1e-14)


def test_gradients_flow_through_the_traced_states_only() -> None:
    layer = double_layer()
    x = draw(T, B, I).requires_grad_()
    _, _, trace = layer(x, return_trace=True)
    assert {name for name, value in trace.items() if value.requires_grad} == {"c", "h"}
    (gradient,) = torch.autograd.grad(trace["c"][0, 0, 2].sum(), x)
    assert gradient[:3].abs().amin() > 0
    assert not gradient[3:].any()


@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_the_reference_differentiates_twice(cell: str) -> None:
    layer = LSTM(2, 2, bidirectional=True, dtype=torch.float64, cell=cell, backend="reference")
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(entering: Tensor, *parameters: Tensor) -> Tensor:
        values = {name: value.detach() for name, value in layer.named_parameters()}
        values.update(zip(list(values), parameters, strict=False))
        output: Tensor = torch.func.functional_call(layer, values, (entering,), {"lengths": [3, 1]})[0]
        return output

    parameters = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    assert torch.autograd.gradcheck(run, (x, *parameters))
    assert torch.autograd.gradgradcheck(run, (x, *parameters), fast_mode=True)


def test_the_torch_backend_refuses_what_it_cannot_do_with_the_reason() -> None:
    x = torch.zeros(T, B, I)
    with pytest.raises(BackendError, match="does not give out its gates"):
        LSTM(I, H, backend="torch")(x, return_trace=True)
    with pytest.raises(BackendError, match="no fused path for the cell 'peephole'"):
        LSTM(I, H, cell="peephole", backend="torch")(x)


DESCRIBED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"reset": torch.zeros(T, B, dtype=torch.bool)}),
    ({"residual": True, "num_layers": 2}, {}),
    ({"zoneout": 0.1, "cell_clip": 1.0}, {"lengths": torch.tensor([6, 2, 0])}),
    ({"recurrent_dropout": {"h": 0.1}, "learn_initial_state": True}, {"return_trace": "gradients"}),
    ({"cell": "full_gate_recurrence", "weight_drop": 0.5}, {"return_trace": True}),
]


@pytest.mark.parametrize(("options", "call"), DESCRIBED, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_explain_names_the_backend_of_the_real_call_and_draws_nothing(
    options: dict[str, Any], call: dict[str, Any], training: bool
) -> None:
    layer, x = LSTM(I, H, **options).train(training), torch.zeros(T, B, I)
    before = torch.get_rng_state()
    chosen, *others = holdfast.explain(layer, x, **call).splitlines()
    assert torch.equal(torch.get_rng_state(), before)
    assert ": chosen" in chosen
    layer.backend = chosen.partition(":")[0]
    layer(x, **call)
    for other in others:
        layer.backend, _, reason = other.partition(": ")
        if reason.startswith("refused"):
            with pytest.raises(BackendError, match=re.escape(reason.removeprefix("refused: "))):
                layer(x, **call)
        else:
            layer(x, **call)


@pytest.mark.parametrize("training", [True, False])
def test_the_request_of_a_call_holds_all_that_the_call_asks(training: bool) -> None:
    layer = LSTM(
        I, H, 2, batch_first=True, dropout=0.5, zoneout=0.1, residual=True, learn_initial_state=True
    ).train(training)
    x, reset = torch.randn(B, T, I), torch.rand(B, T) < 0.5
    request = layer.request(x, lengths=[6, 2, 1], reset=reset, return_trace="gradients")
    assert request.cell == (layer._training_cell if training else layer._evaluation_cell)
    assert (request.residual, request.trace, request.dropout) == (True, True, 0.5 if training else 0.0)
    assert (request.seed is not None) == training
    for found, expected in (
        (request.x, x.transpose(0, 1)),
        (request.reset, reset.t()),
        (request.lengths, torch.tensor([6, 2, 1])),
        ((request.start or ())[1], layer.initial_c),
        ((request.state or ())[0], layer.initial_h.unsqueeze(1).expand(2, B, H)),
        (request.weights[1][0]["weight_hh"], layer.weight_hh_l1),
    ):
        assert isinstance(found, Tensor)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_every_cell_under_modifiers(duplicate: Callable[[LSTM], LSTM], cell: str) -> None:
    clip = None if cell == "rnn" else 0.5
    layer = LSTM(I, H, 2, cell=cell, zoneout=0.2, recurrent_dropout={"g": 0.1, "h": 0.2}, cell_clip=clip)
    again, x = duplicate(layer), torch.randn(T, B, I)
    assert repr(again) == repr(layer)
    for training in (True, False):
        found = []
        for one in (layer, again):
            torch.manual_seed(2)
            found.append(one.train(training)(x)[0])
        assert torch.equal(*found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "lstn"}, "Did you mean 'lstm'"),
        ({"backend": "cuda"}, "backend is 'cuda'; it must be one of auto, native, torch, reference"),
    ],
)
def test_unknown_options_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(I, H, **arguments)


def test_the_example_in_the_documentation_runs() -> None:
    assert doctest.testmod(lstm).failed == 0
    assert doctest.testmod(lstm).attempted > 0


def test_it_shows_what_is_not_torchs() -> None:
    assert repr(LSTM(I, H, cell="peephole", backend="reference")) == (
        "LSTM(4, 5, cell='peephole', backend='reference')"
    )
