"""The gradient at every step: that of the layer itself, of the right target."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from readers import last, reader, row
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.inspection.gradient_flow import gradient_flow
from holdfast.inspection.subject import Subject


@pytest.mark.parametrize("cell", ["lstm", "rnn", "coupled"])
def test_it_is_what_the_layer_s_own_trace_says(cell: str) -> None:
    subject, own = last(cell=cell), row(7)
    (layer,) = subject.layers.values()
    found = gradient_flow(subject, own, 2)
    _, (h, *_), trace = layer(own.x, return_trace="gradients")
    loss = functional.cross_entropy(h[0], torch.tensor([2]))
    loss.backward()
    assert found.loss == pytest.approx(float(loss.detach()))
    assert set(found.norms["layer 1"]) == set(trace.gradients)
    for name, value in trace.gradients.items():
        np.testing.assert_allclose(found.norms["layer 1"][name], value[0, 0, :, 0].norm(dim=1), rtol=1e-9)
    np.testing.assert_array_equal(
        found.carried("layer 1"), found.norms["layer 1"]["h" if cell == "rnn" else "c"]
    )


def test_the_target_is_the_asked_the_known_or_the_answered() -> None:
    subject = reader()
    said = int(subject.scores([row()])[0].argmax())
    losses = {name: gradient_flow(subject, row(), name).loss for name in "ab"}
    assert losses["a"] != losses["b"]
    assert gradient_flow(subject, row()).loss == losses["ab"[said]]
    other = "ab"[1 - said]
    assert gradient_flow(subject, row(target=other)).loss == losses[other]
    assert gradient_flow(subject, row(target="unheard of")).loss == losses["ab"[said]]
    assert gradient_flow(subject, row(target=other), said).loss == losses["ab"[said]]
    with pytest.raises(InputError, match="there is no output 'c'"):
        gradient_flow(subject, row(), "c")


def test_another_number_can_be_sent_back() -> None:
    subject = reader()
    once = gradient_flow(subject, row(), objective=lambda scores: scores[:, 0])
    twice = gradient_flow(subject, row(), objective=lambda scores: 2 * scores[:, 0])
    assert twice.loss == pytest.approx(2 * once.loss)
    assert twice.largest == pytest.approx(2 * once.largest)


def test_a_loss_without_a_gradient_is_said() -> None:
    fixed = Subject.of(
        reader().module, ("a",), lambda module, x, lengths: (module(x, lengths) * 0).detach()[:, :1]
    )
    with pytest.raises(InputError, match="row 0: the loss does not depend on the row"):
        gradient_flow(fixed, row())


def test_it_is_said_in_words() -> None:
    found = gradient_flow(last(), row(7))
    (told,) = found.sentences
    curve = found.carried("layer 1")
    high, low = curve.argmax(), curve.argmin()
    assert told == (
        f"layer 1: the gradient is largest at “word{high}” (step {high + 1}) and "
        f"{curve[low] / curve[high]:.1g} of that at “word{low}” (step {low + 1})"
    )


def test_the_row_and_the_network_get_no_gradient() -> None:
    subject, own = reader(), row()
    gradient_flow(subject, own)
    assert own.x.grad is None
    assert not own.x.requires_grad
    assert all(parameter.grad is None for parameter in subject.module.parameters())


def test_the_numbers_are_plain_and_the_picture_compares_shapes() -> None:
    subject, own = reader(), row()
    found, other = gradient_flow(subject, own), gradient_flow(subject.with_cell("rnn"), own)
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["norms"]["layer 2"]["f"] == found.norms["layer 2"]["f"].tolist()
    figure = found.figure({"rnn": other})
    assert len(figure.axes) == 5
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]
    for own_lines in (drawn[::2], drawn[1::2]):
        assert max(np.nanmax(np.asarray(line, dtype=float)) for line in own_lines) == 1
