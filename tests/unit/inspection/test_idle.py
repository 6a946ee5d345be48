"""Units that do nothing are found by silencing them, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.errors import InputError
from holdfast.inspection.idle import BAND, silenced, unit_effects, unit_effects_figure
from holdfast.inspection.places import places
from holdfast.inspection.subject import Reading, Subject, batch_of
from holdfast.nn.lstm import LSTM

CLOSE: dict[str, float] = {"rtol": 1e-9, "atol": 1e-12}


def made(outputs: int = 2, *, final: bool = False, **options: Any) -> Subject:
    """A network that decides by its output at the last step, or by its final state."""
    torch.manual_seed(0)
    lstm = LSTM(3, 6, **options).double()
    head = nn.Linear((lstm.proj_size or 6) * lstm.directions, outputs).double()

    def forward(module: Any, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        output, state = module[0](x, lengths=lengths)
        steps = output.sum(0) if not final else torch.cat([*state[0][-lstm.directions :]], -1)
        return module[1](steps)  # type: ignore[no-any-return]

    return Subject.of(nn.ModuleList([lstm, head]), tuple("abcd"[:outputs]), forward)


def readings() -> list[Reading]:
    generator = torch.Generator().manual_seed(7)
    rows = [torch.randn(steps, 1, 3, generator=generator, dtype=torch.float64) for steps in (8, 5, 6)]
    return [Reading(f"row {k}", tuple(map(str, range(len(x)))), x) for k, x in enumerate(rows)]


@torch.no_grad()
def shut(lstm: LSTM, layer: int, direction: int, units: list[int]) -> None:
    """The same by hand: an output gate that never opens."""
    suffix = f"_l{layer}" + ("_reverse" if direction else "")
    rows = [3 * 6 + unit for unit in units]
    for name in ("weight_ih", "weight_hh", "bias_hh"):
        getattr(lstm, name + suffix)[rows] = 0.0
    getattr(lstm, "bias_ih" + suffix)[rows] = -1e9


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 4}])
def test_silencing_is_what_a_shut_output_gate_does(options: dict[str, Any], final: bool) -> None:
    subject = made(final=final, **options)
    x, lengths = batch_of(readings())
    for place in places(subject):
        with silenced(subject, place, [1, 4]):
            found = subject.run(x, lengths).scores
        by_hand = made(final=final, **options)
        shut(by_hand.module[0], place.layer, place.direction, [1, 4])  # type: ignore[index]
        torch.testing.assert_close(found, by_hand.run(x, lengths).scores, **CLOSE)
        assert (found - subject.run(x, lengths).scores).abs().min() > 1e-6


def test_the_network_is_the_same_afterwards() -> None:
    subject = made()
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    unit_effects(subject, readings())
    assert all(torch.equal(before[name], value) for name, value in subject.module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in subject.module.modules())


@torch.no_grad()
def test_units_that_nobody_reads_do_nothing() -> None:
    subject = made()
    lstm, head = subject.module
    for unit in (2, 5):
        lstm.weight_hh_l0[:, unit] = 0.0
        head.weight[:, unit] = head.weight[0, unit]  # all scores alike: no answer changes
    (found,) = unit_effects(subject, readings())
    assert sorted(found.idle) == [2, 5]
    assert found.effect[[2, 5]].max() < 1e-12
    assert found.effect[[0, 1, 3, 4]].min() > 0.01
    assert set(found.ranking[:2].tolist()) == {2, 5}
    assert "2 of 6 units do nothing in 3 rows" in found.sentence
    assert found.other_rows == 0
    assert "other rows" not in found.sentence


@torch.no_grad()
def test_what_was_idle_in_some_rows_is_tried_on_others() -> None:
    """Without input nothing moves, so all units are idle; the other rows move them."""
    subject = made()
    for value in subject.module[0].parameters():  # type: ignore[index]
        if value.ndim == 1:
            value.zero_()
    still = [Reading("still", ("a",), torch.zeros(1, 1, 3, dtype=torch.float64))]
    (found,) = unit_effects(subject, still, None, readings())
    assert len(found.idle) == 6
    x, lengths = batch_of(readings())
    scores = subject.run(x, lengths).scores
    with silenced(subject, places(subject)[0], range(6)):
        without = subject.run(x, lengths).scores
    centred = scores - scores.mean(1, keepdim=True)
    change = without - without.mean(1, keepdim=True) - centred
    expected = float((change.square().mean() / centred.square().mean()).sqrt())
    flips = int((without.argmax(1) != scores.argmax(1)).sum())
    assert (found.other_rows, found.other_flips) == (3, flips)
    assert found.other_effect == pytest.approx(expected)
    assert f"no answer; in 3 other rows by {expected:.1%} and {flips} answers" in found.sentence


@torch.no_grad()
def test_what_matters_together_is_not_idle() -> None:
    """Each unit alone changes the scores by 0.3 %: three of them can go, and the fourth makes it 1.2 %."""
    lstm = LSTM(3, 6).double()
    for name, value in lstm.named_parameters():
        value.zero_()
        if name == "bias_ih_l0":  # i, g and o wide open: h is tanh(1) at the first step
            value[:6], value[12:] = 1e9, 1e9
    subject = Subject.of(lstm, ("a",), lambda lstm, x, lengths: 1 - 0.004 * lstm(x)[0][-1].sum(1, True))
    rows = [Reading("row", ("a",), torch.zeros(1, 1, 3, dtype=torch.float64))]
    (found,) = unit_effects(subject, rows)
    np.testing.assert_allclose(found.effect, 0.0031, atol=1e-4)
    assert len(found.idle) == 3


@torch.no_grad()
def test_effects_flips_and_reach_by_hand() -> None:
    subject = made(1)
    rows = readings()
    (found,) = unit_effects(subject, rows)
    x, lengths = batch_of(rows)
    scores = subject.run(x, lengths).scores
    assert found.size == pytest.approx(float(scores.square().mean().sqrt()))
    h = subject.run(x, lengths, trace=True).traces[0]["h"][0, 0]
    reach = h.amax((0, 1)).clamp(min=0) - h.amin((0, 1)).clamp(max=0)
    np.testing.assert_allclose(found.reach, reach.numpy())
    for unit in range(6):
        with silenced(subject, places(subject)[0], [unit]):
            changed = subject.run(x, lengths).scores
        expected = float((changed - scores).square().mean().sqrt()) / found.size
        assert found.effect[unit] == pytest.approx(expected)
        assert found.flips[unit] == int(((changed > 0) != (scores > 0)).sum())


@torch.no_grad()
def test_a_unit_that_does_not_move_is_still() -> None:
    subject = made()
    shut(subject.module[0], 0, 0, [3])  # type: ignore[index]
    (found,) = unit_effects(subject, readings())
    assert found.still == [3]
    assert found.reach[3] < BAND
    data = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (data["still"], data["idle"]) == ([3], [3])


@pytest.mark.parametrize("cell", ["rnn", "full_gate_recurrence", "layernorm"])
def test_cells_of_every_kind(cell: str) -> None:
    found = unit_effects(made(cell=cell, bidirectional=True), readings())
    assert [len(one.effect) for one in found] == [6, 6]
    assert all((one.effect > 0).all() for one in found)


@torch.no_grad()
def test_what_reads_gates_still_reads_them() -> None:
    """A head that reads nothing of h of unit 2, which nothing in the layer reads but through its gates."""
    subject = made(cell="full_gate_recurrence")
    lstm, head = subject.module  # type: ignore[misc]
    lstm.weight_hh_l0[:, 2] = 0.0
    head.weight[:, 2] = 0.0
    (found,) = unit_effects(subject, readings())
    assert found.effect[2] == 0
    assert (np.delete(found.effect, 2) > 1e-4).all()


@torch.no_grad()
def test_a_unit_that_stays_where_it_has_learnt_to_start_is_still() -> None:
    subject = made(learn_initial_state=True)
    lstm = subject.module[0]  # type: ignore[index]
    shut(lstm, 0, 0, [3, 4])
    lstm.initial_h[0, 3] = 0.4
    (found,) = unit_effects(subject, readings())
    np.testing.assert_allclose(found.reach[[3, 4]], [0.4, 0.0], atol=1e-12)
    h = subject.values(readings()[1:2])[0]["h"][0, 0, :, 0]
    lstm.initial_h[0] = torch.tensor(h.mean(0)) + 5
    h = subject.values(readings()[1:2])[0]["h"][0, 0, :, 0]
    (found,) = unit_effects(subject, readings()[:2])
    both = np.concatenate([h, subject.values(readings()[:1])[0]["h"][0, 0, :, 0]])
    np.testing.assert_allclose(found.reach, lstm.initial_h[0].numpy() - both.min(0))


def test_layers_that_add_their_input_are_not_measured() -> None:
    subject = made(num_layers=2, residual=True)
    found = unit_effects(subject, readings())
    assert all(np.isnan(one.effect).all() and not one.idle for one in found)
    assert "not measured" in found[0].sentence
    json.dumps(found[0].as_dict(), allow_nan=False)
    with pytest.raises(InputError, match="adds its input"), silenced(subject, places(subject)[0], [0]):
        pass


def test_some_units_may_be_enough() -> None:
    all_of, some = (unit_effects(made(), readings(), most)[0] for most in (None, 3))
    assert np.flatnonzero(np.isfinite(some.effect)).tolist() == [0, 2, 5]
    np.testing.assert_array_equal(some.effect[[0, 2, 5]], all_of.effect[[0, 2, 5]])
    assert set(some.ranking[:3].tolist()) == {0, 2, 5}
    assert set(some.idle) <= {0, 2, 5}
    assert "each of the 3 units" in some.sentence
    assert len(unit_effects_figure([some]).axes[0].lines[0].get_ydata()) == 3
    assert np.isfinite(unit_effects(made(), readings(), 99)[0].effect).all()


def test_a_projected_state_moves_apart_from_its_units() -> None:
    (found,) = unit_effects(made(proj_size=4), readings())
    assert (len(found.reach), len(found.effect)) == (4, 6)
    assert (found.effect > 0).all()


def test_a_unit_that_is_not_there() -> None:
    subject = made()
    place = places(subject)[0]
    with (
        pytest.raises(InputError, match="layer 1 has the units 0 to 5; got 6"),
        silenced(subject, place, [6]),
    ):
        pass


def test_the_picture_goes_from_the_least() -> None:
    found = unit_effects(made(), readings())
    drawn = unit_effects_figure(found).axes[0].lines[0].get_ydata()
    assert (np.diff(drawn) >= 0).all()
