"""Replaced inputs: against one run for each, and on a network without memory."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from readers import last, reader, row, without_memory

from holdfast.errors import InputError
from holdfast.inspection import perturbation as perturbation_module
from holdfast.inspection.perturbation import changes, mean_input, perturbation
from holdfast.inspection.places import places
from holdfast.inspection.subject import Reading, Subject


def test_it_is_one_run_for_each_replaced_step() -> None:
    subject, own = reader(), row(5)
    substitute = torch.randn(5, 3, dtype=torch.float64)
    found = changes(subject, own, substitute)
    first, second = subject.layers.values()

    @torch.no_grad()
    def ends(x: torch.Tensor) -> dict[str, torch.Tensor]:
        output, (states, _) = first(x)
        _, (top, _) = second(output)
        named = {place.label: states[index, 0] for index, place in enumerate(places(subject)[:4])}
        scores = subject.run(x).scores[0]
        return {**named, "layer 3": top[0, 0], "scores": scores}

    plain, whole = ends(own.x), ends(substitute[:, None])
    for step in range(5):
        x = own.x.clone()
        x[step] = substitute[step]
        for name, end in ends(x).items():
            share = float((end - plain[name]).norm() / (whole[name] - plain[name]).norm())
            lag = step if "end" in name else 4 - step
            assert found[name][lag] == pytest.approx(share, rel=1e-9), (name, step)


def test_a_network_without_memory_notices_the_last_step_alone() -> None:
    found = perturbation(without_memory(last()), [row(4, 1), row(6, 2)])
    for name in ("layer 1", "scores"):
        np.testing.assert_allclose(found.curves[name], [1, 0, 0, 0, 0, 0], atol=1e-12)
        assert found.remembered(name) == 0
    assert found.readings.tolist() == [2, 2, 2, 2, 1, 1]


def test_scores_that_add_up_all_steps_remember_all_alike() -> None:
    def total(module: Any, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        module(x, lengths)  # its layers are read, and its answer is not used
        return x.sum((0, 2))[:, None]

    module = reader().module
    found = perturbation(Subject.of(module, ("sum",), total), [constant_row(10, 0.0), constant_row(10, 3.0)])
    np.testing.assert_allclose(found.curves["scores"], 0.1, rtol=1e-9)
    assert found.remembered("scores") == 8  # 90 % are nine steps of ten: the lags 0 to 8


def constant_row(steps: int, value: float) -> Reading:
    x = torch.full((steps, 1, 3), value, dtype=torch.float64)
    return Reading("constant", tuple(map(str, range(steps))), x)


def test_one_pass_or_many_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = perturbation(reader(), [row(5, 1), row(3, 2)])
    monkeypatch.setattr(perturbation_module, "MOST_NUMBERS", 1)
    parts = perturbation(reader(), [row(5, 1), row(3, 2)])
    for name, curve in whole.curves.items():
        np.testing.assert_allclose(parts.curves[name], curve, rtol=1e-9, atol=1e-14)


def test_what_a_step_is_replaced_by() -> None:
    rows = [row(2, 1), row(3, 2)]
    inputs = np.concatenate([own.x[:, 0].numpy() for own in rows])
    np.testing.assert_allclose(mean_input(rows), inputs.mean(0))
    seen = []

    def remember(subject: Any, reading: Any, substitute: torch.Tensor) -> dict[str, np.ndarray]:
        seen.append(substitute.numpy())
        return {"scores": np.zeros(len(substitute))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturbation_module, "changes", remember)
        perturbation(reader(), rows, "other", seed=3)
        perturbation(reader(), rows, "mean")
    others = {tuple(step) for step in inputs[2:]}
    assert all(tuple(step) in others for step in seen[0])  # the first row's from the second, and so on
    assert all(tuple(step) in {tuple(own) for own in inputs[:2]} for step in seen[1])
    np.testing.assert_allclose(seen[3], np.tile(inputs.mean(0), (3, 1)))


def test_the_same_seed_draws_the_same() -> None:
    rows = [row(5, 1), row(6, 2)]
    one, two, three = (perturbation(reader(), rows, "other", seed=seed) for seed in (1, 1, 2))
    assert one.as_dict() == two.as_dict() != three.as_dict()


def test_it_is_said_in_words() -> None:
    assert perturbation(without_memory(last()), [row(4, 1), row(6, 2), row(7, 3)]).sentence == (
        "90% of what a single changed input changes in the answer lies within 0 steps of the end "
        "(half of the rows have 6 or more)"
    )


def test_the_numbers_are_plain_and_the_picture_shows_them() -> None:
    found = perturbation(reader(), [row()])
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["ends"]["scores"]["change"] == found.curves["scores"].tolist()
    assert told["replaced_by"] == "mean"
    lines = {line.get_label(): line for line in found.figure().axes[0].get_lines()}
    np.testing.assert_array_equal(lines["what the network says"].get_ydata(), found.curves["scores"])
    assert len(lines) == 6


@pytest.mark.parametrize(("rows", "by"), [([], "mean"), ([row()], "other")])
def test_too_few_rows(rows: list[Any], by: Any) -> None:
    with pytest.raises(InputError, match="needs at least"):
        perturbation(reader(), rows, by)


def test_another_replacement_is_refused() -> None:
    with pytest.raises(InputError, match="it must be 'mean' or 'other'"):
        perturbation(reader(), [row()], "zero")  # type: ignore[arg-type]
