"""Jacobians of the last state: against autograd, and on networks whose memory is known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from readers import last, reader, row, without_memory
from torch import Tensor
from torch.autograd.functional import jacobian

from holdfast.errors import InputError
from holdfast.inspection import reach as reach_module
from holdfast.inspection.places import places
from holdfast.inspection.reach import jacobian_norms, per_step, reach, reach_figure

CLOSE: Any = {"rtol": 1e-9, "atol": 1e-13}


def root_mean_square(matrix: Tensor) -> float:
    width = matrix.shape[0]
    return float((matrix.reshape(width, -1).square().sum() / width).sqrt())


@pytest.mark.parametrize("cell", ["lstm", "rnn", "peephole", "coupled", "original"])
def test_it_is_what_autograd_finds_state_by_state(cell: str) -> None:
    subject = last(cell=cell)
    (layer,) = subject.layers.values()
    x = row(5).x
    norms = jacobian_norms(subject, row(5), places(subject)[0])
    _, _, trace = layer(x, return_trace=True)
    for lag in range(1, 5):
        states = tuple(trace[name][0, 0, 4 - lag].detach()[None] for name in layer.cell.states)

        def of_state(*own: Tensor, lag: int = lag) -> Tensor:
            return layer(x[5 - lag :], own)[1][0][0, 0]  # type: ignore[no-any-return]

        found = jacobian(of_state, states)
        assert norms["h"][lag] == pytest.approx(root_mean_square(found[0]), rel=1e-9)
        if cell == "lstm":  # what c does by itself, and by way of the h that is made of it
            slope = trace["o"][0, 0, 4 - lag, 0] * (1 - states[1][0, 0].tanh() ** 2)
            whole = found[1].reshape(4, 4) + found[0].reshape(4, 4) * slope
            assert norms["c"][lag] == pytest.approx(root_mean_square(whole), rel=1e-9)
    assert norms["h"][0] == 1
    assert ("c" in norms) == (cell != "rnn")


def test_the_input_s_share_goes_through_the_layers_below() -> None:
    subject, own = reader(), row(5)
    first, second = subject.layers.values()
    lengths = torch.tensor([5])
    ends = {
        "layer 1": lambda x: first(x)[1][0][0, 0],
        "layer 1, from the end": lambda x: first(x)[1][0][1, 0],
        "layer 2, from the end": lambda x: first(x)[1][0][3, 0],
        "layer 3": lambda x: second(first(x, lengths=lengths)[0])[1][0][0, 0],
    }
    for place in places(subject):
        if place.label in ends:
            found = jacobian(ends[place.label], own.x)
            each = [root_mean_square(found[:, step]) for step in range(5)]
            expected = each if "end" in place.label else each[::-1]
            np.testing.assert_allclose(jacobian_norms(subject, own, place)["x"], expected, **CLOSE)


def test_a_network_without_memory_remembers_nothing() -> None:
    found = reach(without_memory(last()), [row()])
    assert found.curves["layer 1"]["x"][0] > 0
    assert not found.curves["layer 1"]["x"][1:].any()
    assert found.remembered("layer 1") == 0


def test_an_open_forget_gate_keeps_all() -> None:
    subject = last()
    layer: Any = subject.layers["lstm"]
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0[4:8] = 1000.0
    found = reach(subject, [row(12)])
    curve = found.curves["layer 1"]["c"]
    np.testing.assert_allclose(curve, curve[0], rtol=1e-9)
    assert found.factor("layer 1") == pytest.approx(1.0)
    assert found.remembered("layer 1") > 6


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_plain_network_multiplies_by_its_weights(factor: float) -> None:
    """With inputs so small that tanh is straight: gradients shrink or grow by that factor."""
    subject = last(cell="rnn")
    layer: Any = subject.layers["lstm"]
    with torch.no_grad():
        for value in layer.parameters():
            value.mul_(1e-9)
        layer.weight_hh_l0.copy_(factor * torch.eye(4))
    found = reach(subject, [row(9)])
    np.testing.assert_allclose(found.curves["layer 1"]["h"], factor ** np.arange(9.0), rtol=1e-6)
    assert found.carried("layer 1") == "h"
    assert found.factor("layer 1") == pytest.approx(factor, rel=1e-6)


def test_one_pass_or_many_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = reader()
    place = places(subject)[2]
    whole = jacobian_norms(subject, row(), place)
    monkeypatch.setattr(reach_module, "MOST_NUMBERS", 1)
    for name, curve in jacobian_norms(subject, row(), place).items():
        np.testing.assert_allclose(curve, whole[name], **CLOSE)


def test_wide_layers_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = last(40)
    place = places(subject)[0]
    exact = jacobian_norms(subject, row(), place)
    monkeypatch.setattr(reach_module, "EXACT_UNITS", 32)
    for name, curve in jacobian_norms(subject, row(), place).items():
        # A norm from 32 sums of random signs is off by less than 1 / sqrt(32), twice of it is rare.
        np.testing.assert_allclose(curve, exact[name], rtol=2 / math.sqrt(32))
        assert (curve[1:] != exact[name][1:]).all()


def test_rows_of_any_length_are_put_together_by_lag() -> None:
    subject, rows = reader(), [row(2, 1), row(7, 2), row(4, 3)]
    found = reach(subject, rows)
    assert found.readings.tolist() == [3, 3, 2, 2, 1, 1, 1]
    assert found.longest == 7
    place = places(subject)[1]
    each = [jacobian_norms(subject, own, place)["x"] for own in rows]
    assert found.curves[place.label]["x"][1] == pytest.approx(np.median([norm[1] for norm in each]))
    assert found.curves[place.label]["x"][6] == pytest.approx(each[1][6])
    assert len(found.memory[place.label]) == 3


def test_the_network_is_as_it_was() -> None:
    subject = reader()
    subject.module.train()
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    reach(subject, [row()])
    assert subject.module.training
    for name, parameter in subject.module.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
        assert parameter.requires_grad


def test_the_slope_of_a_curve() -> None:
    assert per_step(np.array([4.0, 2.0, 1.0])) == pytest.approx(0.5)
    assert per_step(np.array([1.0, 0.0, 0.25])) == pytest.approx(0.5)
    assert math.isnan(per_step(np.array([1.0])))
    assert math.isnan(per_step(np.zeros(4)))


def test_it_is_said_in_words() -> None:
    subject = without_memory(last())
    assert reach(subject, [row(1)]).sentences == [
        "layer 1: 90% of what moves the last state lies within 0 steps (half of the rows have 1 or more)"
    ]
    found = reach(reader(), [row(9, 1), row(5, 2), row(4, 3)])
    (*_, told) = found.sentences
    factor = found.factor("layer 3")
    assert told.startswith(
        f"layer 3: 90% of what moves the last state lies within {found.remembered('layer 3'):g}"
    )
    assert told.endswith(
        f"(half of the rows have 5 or more); a change of c is multiplied by {factor:.2f} per step"
    )


def test_the_numbers_are_plain_and_the_picture_shows_them() -> None:
    subject = reader()
    found, other = reach(subject, [row()]), reach(subject.with_cell("rnn"), [row()])
    told = json.loads(json.dumps(found.as_dict()))
    assert told["places"]["layer 3"]["norms"]["x"] == found.curves["layer 3"]["x"].tolist()
    assert set(told["places"]["layer 1"]["norms"]) == {"x", "h", "c"}
    json.dumps(reach(subject, [row(1)]).as_dict(), allow_nan=False)
    figure = found.figure({"rnn": other}, "trained")
    assert len(figure.axes) == 10
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_array_equal(lines["trained"].get_ydata(), found.curves["layer 1"]["c"])
    np.testing.assert_array_equal(lines["rnn"].get_ydata(), other.curves["layer 1"]["h"])
    assert len(reach_figure({"one": found}, ["layer 3"]).axes) == 2


def test_without_rows_there_is_nothing_to_measure() -> None:
    with pytest.raises(InputError, match="no reading to measure on"):
        reach(reader(), [])
