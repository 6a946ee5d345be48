"""The trace and its gradients, in the layout of the caller."""

from __future__ import annotations

import copy
import pickle
import shutil
from typing import Any

import pytest
import torch
from cells_of_users import USERS
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils import _pytree

from holdfast import explain
from holdfast.cells import CELLS, Cell
from holdfast.errors import InputError
from holdfast.kernels import native
from holdfast.nn.layout import Layout
from holdfast.nn.lstm import LSTM
from holdfast.nn.trace import Trace

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation
needs_core = pytest.mark.skipif(isinstance(native._core, str), reason="the compiled core is not here")
QUICK_USERS = [cell for cell in USERS if cell.name in {"nested", "partly_split"}]
CLOSE: dict[str, float] = {"rtol": 1e-10, "atol": 1e-13}  # float64, sums of some ten terms in another order


def double_layer(**options: Any) -> LSTM:
    return LSTM(I, H, dtype=torch.float64, **options)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def loss_of(output: Any, state: Any) -> Tensor:
    values = [output.data if hasattr(output, "batch_sizes") else output, *state]
    total: Tensor = sum((value * value.detach().cos()).sum() for value in values)  # type: ignore[assignment]
    return total


@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_names_every_value_in_every_step(cell: str) -> None:
    layer, x = double_layer(num_layers=2, bidirectional=True, cell=cell, proj_size=2), draw(T, B, I)
    output, state, trace = layer(x, lengths=[6, 2, 4], return_trace=True)
    assert list(trace) == list(layer.cell.values)
    for name, value in trace.items():
        assert value.shape == (2, 2, T, B, 2 if name == "h" else H), name
        assert not value[:, :, 2:, 1].any(), name
        assert value.requires_grad == (name in layer.cell.states), name
    torch.testing.assert_close(torch.cat([trace["h"][1, 0], trace["h"][1, 1]], 2), output, rtol=0, atol=0)
    for name, final in zip(layer.cell.states, state, strict=True):
        torch.testing.assert_close(trace[name][0, 0, 1, 1], final[0, 1], rtol=0, atol=0)


@pytest.mark.parametrize("cell", ["lstm", "peephole", "coupled", "rnn", "layernorm"])
def test_the_gradient_trace_gives_what_autograd_gives_for_the_parameters(cell: str) -> None:
    layer, x, lengths = double_layer(cell=cell, bidirectional=True), draw(T, B, I), [6, 0, 4]
    output, state, trace = layer(x, lengths=lengths, return_trace="gradients")
    loss_of(output, state).backward()
    gradients = trace.gradients
    assert set(gradients) == {*layer.cell.gates, *layer.cell.states}
    for d, suffix in enumerate(("_l0", "_l0_reverse")):
        # The bias of a gate adds to its pre-activation in each step.
        of_gates = torch.cat([gradients[gate][0, d].sum((0, 1)) for gate in layer.cell.gates])
        torch.testing.assert_close(getattr(layer, "bias_ih" + suffix).grad, of_gates, **CLOSE)
    for name, value in gradients.items():
        assert value.shape == trace[name].shape, name
        assert not value[:, :, 4:, 2].any(), name
        assert not value[:, :, :, 1].any(), name


def test_the_gradients_of_h_and_c_are_totals_over_all_later_uses() -> None:
    layer, x = double_layer(), draw(T, B, I)
    output, (h, c), trace = layer(x, return_trace="gradients")
    loss_of(output, (h, c)).backward()
    for t in range(T):
        _, (start_h, start_c) = layer(x[: t + 1])
        start_h, start_c = start_h.detach().requires_grad_(), start_c.detach().requires_grad_()
        if t + 1 < T:
            rest, state = layer(x[t + 1 :], (start_h, start_c))
            loss = loss_of(torch.cat([start_h, rest]), state)
        else:
            loss = loss_of(start_h, (start_h, start_c))
        of_h, of_c = torch.autograd.grad(loss, (start_h, start_c))
        torch.testing.assert_close(trace.gradients["h"][0, 0, t], of_h[0], **CLOSE)
        o = trace["o"][0, 0, t]
        through_h = of_h[0] * o * (1 - start_c[0].tanh() ** 2)
        torch.testing.assert_close(trace.gradients["c"][0, 0, t], of_c[0] + through_h, **CLOSE)


def test_gradients_in_the_layouts_of_the_callers() -> None:
    layer = double_layer(num_layers=2, bidirectional=True)
    turned = double_layer(num_layers=2, bidirectional=True, batch_first=True)
    turned.load_state_dict(layer.state_dict())
    x, lengths = draw(T, B, I), torch.tensor([4, 6, 2])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    calls = {
        "padded": layer(x, lengths=lengths, return_trace="gradients"),
        "packed": layer(packed, return_trace="gradients"),
        "batch first": turned(x.transpose(0, 1), lengths=lengths, return_trace="gradients"),
    }
    for output, state, _ in calls.values():
        loss_of(output, state).backward()
    expected = calls["padded"][2]
    for name, value in expected.gradients.items():
        torch.testing.assert_close(calls["packed"][2].gradients[name], value, **CLOSE)
        assert calls["batch first"][2].gradients[name].shape == calls["batch first"][2][name].shape
        torch.testing.assert_close(calls["batch first"][2].gradients[name].transpose(2, 3), value, **CLOSE)
    output, state, alone = layer(x[:, 1], return_trace="gradients")
    loss_of(output, state).backward()
    torch.testing.assert_close(alone.gradients["i"], expected.gradients["i"][:, :, :, 1], **CLOSE)


def test_asking_for_gradients_changes_no_number() -> None:
    layer, x = double_layer(num_layers=2, bidirectional=True, cell="peephole"), draw(T, B, I)
    found = []
    for kind in (False, True, "gradients"):
        layer.zero_grad()
        output, state, *_ = layer(x, lengths=[5, 0, 6], return_trace=kind)
        loss_of(output, state).backward()
        found.append([output, *state, *(parameter.grad.clone() for parameter in layer.parameters())])
    for with_trace in found[1:]:
        for one, other in zip(with_trace, found[0], strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_gradients_that_are_not_there_are_explained() -> None:
    layer, x = double_layer(), draw(T, B, I)
    output, _, trace = layer(x, return_trace=True)
    output.sum().backward()
    with pytest.raises(InputError, match='call the layer with return_trace="gradients"'):
        _ = trace.gradients
    output, _, trace = layer(x, return_trace="gradients")
    with pytest.raises(InputError, match=r"not there yet: call backward\(\) on a loss"):
        _ = trace.gradients
    torch.autograd.grad(output.sum(), layer.weight_ih_l0)
    with pytest.raises(InputError, match=r"torch.autograd.grad leaves none"):
        _ = trace.gradients


def test_several_calls_of_backward_add_up() -> None:
    layer = double_layer()
    output, _, trace = layer(draw(T, B, I), return_trace="gradients")
    output.sum().backward(retain_graph=True)
    once = trace.gradients["f"].clone()
    output.sum().backward()
    torch.testing.assert_close(trace.gradients["f"], 2 * once, **CLOSE)


@pytest.mark.parametrize("kind", ["gradient", 0, 1, 1.5, None, "True", []])
def test_another_kind_of_trace_is_refused(kind: Any) -> None:
    with pytest.raises(InputError, match="it must be False, True or 'gradients'"):
        LSTM(I, H)(torch.zeros(T, B, I), return_trace=kind)


def test_gradients_that_nothing_reached_are_zero() -> None:
    taps = {name: torch.zeros(1, 1, T, B, H, requires_grad=True) for name in "hc"}
    trace = Trace({"h": taps["h"]}, taps, Layout(batched=True, batch_first=True))
    taps["h"].sum().backward()
    assert {name: tuple(value.shape) for name, value in trace.gradients.items()} == dict.fromkeys(
        "hc", (1, 1, B, T, H)
    )
    assert trace.gradients["h"].all()
    assert not trace.gradients["c"].any()


@pytest.mark.parametrize("duplicate", [copy.copy, lambda trace: pickle.loads(pickle.dumps(trace))])
def test_a_trace_is_a_dict_that_copies_and_that_torch_looks_into(duplicate: Any) -> None:
    trace = Trace({"h": torch.ones(2), "c": torch.zeros(2)})
    assert isinstance(trace, dict)
    again = duplicate(trace)
    assert type(again) is Trace
    assert list(again) == ["h", "c"]
    leaves, spec = _pytree.tree_flatten(trace)
    assert [float(leaf.sum()) for leaf in leaves] == [2.0, 0.0]
    assert type(_pytree.tree_unflatten(leaves, spec)) is Trace


def test_a_trace_says_what_it_has_and_shows_its_shapes() -> None:
    output, _, trace = double_layer()(draw(T, B, I), return_trace="gradients")
    with pytest.raises(KeyError, match=r"^the trace has no value 'forget'; it has i, f, g, o, c, h$"):
        trace["forget"]
    assert trace.get("forget") is None
    assert "forget" not in trace
    assert repr(Trace({"h": torch.ones(2, 3)})) == "Trace(h: [2, 3])"
    output.sum().backward()
    with pytest.raises(KeyError, match="the trace has no value 'forget'; it has i, f, g, o, h, c"):
        trace.gradients["forget"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_call_without_gradients_says_why_there_are_none(mode: Any) -> None:
    with mode():
        trace = double_layer()(draw(T, B, I), return_trace="gradients")[2]
    with pytest.raises(InputError, match=r"the call was made under torch.no_grad or inference_mode"):
        _ = trace.gradients


def test_a_frozen_layer_has_gradients_all_the_same() -> None:
    output, _, trace = double_layer().requires_grad_(False)(draw(T, B, I), return_trace="gradients")
    output.sum().backward()
    assert trace.gradients["f"].any()


def test_one_trace_of_calls_that_follow_each_other() -> None:
    """Windows of a sequence, their values and gradients, against the whole of it."""
    layer = double_layer()
    x = draw(T, B, I)
    output, _, whole = layer(x, return_trace="gradients")
    output[-1].sum().backward()
    state, parts, outputs = None, [], []
    for window in x.split(4):
        part, state, trace = layer(window, state, return_trace="gradients")
        parts.append(trace)
        outputs.append(part)
    joined = Trace.joined(parts)
    with pytest.raises(InputError, match="not there yet"):
        _ = joined.gradients
    outputs[-1][-1].sum().backward()
    for name, value in whole.items():
        torch.testing.assert_close(joined[name], value, **CLOSE)
    for name, gradient in whole.gradients.items():
        torch.testing.assert_close(joined.gradients[name], gradient, **CLOSE)


def test_a_part_without_a_share_in_the_loss_has_the_gradient_zero() -> None:
    layer = double_layer()
    parts = [layer(draw(steps, B, I), return_trace="gradients") for steps in (2, 3)]
    parts[1][0].sum().backward()
    gradients = Trace.joined([trace for _, _, trace in parts]).gradients
    assert gradients["f"].shape == (1, 1, 5, B, H)
    assert (gradients["f"][:, :, :2] == 0).all()
    assert (gradients["f"][:, :, 3:] != 0).all()


@pytest.mark.parametrize("shape", [(T, B, I), (B, T, I), (T, I)])
def test_time_first_whatever_the_layout(shape: tuple[int, ...]) -> None:
    layer = double_layer(batch_first=shape[0] == B)
    x = draw(*shape)
    output, _, trace = layer(x, return_trace="gradients")
    output.square().sum().backward()
    plain = double_layer()
    plain.load_state_dict(layer.state_dict())
    turned = x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if layer.batch_first else x
    output, _, expected = plain(turned, return_trace="gradients")
    output.square().sum().backward()
    for found, wanted in ((trace.time_first(), expected), (trace.time_first().gradients, expected.gradients)):
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, **CLOSE)


@needs_core
@pytest.mark.parametrize("kind", [True, "gradients"])
@pytest.mark.parametrize("cell", CELLS)
def test_traces_of_every_cell_come_from_the_core(cell: str, kind: Any) -> None:
    for layer in (LSTM(I, H, cell=cell), LSTM(I, H, 2, cell=cell, bidirectional=True)):
        for lengths in (None, [T, 2, 1]):
            said = explain(layer, torch.zeros(T, B, I), lengths=lengths, return_trace=kind)
            assert said.startswith("native: chosen"), said


@needs_core
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("kind", [True, "gradients"])
@pytest.mark.parametrize("own", QUICK_USERS, ids=[own.name for own in QUICK_USERS])
def test_traces_of_a_users_own_cell_come_from_the_core_by_its_own_names(own: Cell, kind: Any) -> None:
    layer = LSTM(I, H, cell=own, bidirectional=True)
    said = explain(layer, torch.zeros(T, B, I), return_trace=kind)
    assert said.startswith("native: chosen"), said
    output, _, trace = layer(torch.randn(T, B, I), return_trace=kind)
    assert list(trace) == list(own.values)
    torch.testing.assert_close(trace["h"][0, 0], output[..., :H])
    if kind == "gradients":
        output.sum().backward()
        assert set(trace.gradients) == set(own.tapped)
        assert all(trace.gradients[gate].abs().max() > 0 for gate in own.gates)
