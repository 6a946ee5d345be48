"""What a report of a text classifier is made of."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_texts import TINY, toy_texts

from holdfast.tasks import train
from holdfast.tasks.text_classification.report import choose, material_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train("text-classification", toy_texts(), tmp_path_factory.mktemp("m") / "model", **TINY).model


def material(model: Any, data: Any, **options: Any) -> Any:
    bundle: Any = SimpleNamespace(path="some/model", files={})
    return material_of(model, bundle, data, **options)


def test_no_advice_is_not_the_same_as_no_measures(model: Any) -> None:
    older = {name: value for name, value in model.training.items() if name != "advice"}
    for training, says in (
        (older, "This model was trained without these measures."),
        (older | {"advice": []}, "The measures of training give no reason for advice."),
        (older | {"advice": ["Try more rows."]}, "Try more rows."),
    ):
        made = material(replace(model, training=training), toy_texts(10, seed=5), rows=(3,))
        assert made.what_to_try == (says,)


def test_the_choice_names_the_rows_that_it_was_made_from() -> None:
    """The surest row of all is too long; of two classes, the second row is right, the others wrong."""
    sure = np.array([[0.99, 0.01], [0.1, 0.9], [0.8, 0.2], [0.55, 0.45]])
    found = choose(sure, np.array([0, 1, 1, 1]), np.array([500, 9, 9, 9]))
    assert found == {
        1: "right, and the surest of the 3 rows looked at",
        2: "wrong, and the surest of the 3 rows looked at",
        3: "the least sure of the 3 rows looked at",
    }
    assert choose(sure[1:2], None, np.array([3])) == {0: "the surest of the 1 rows looked at"}


def test_the_part_that_is_explained_has_its_own_say(model: Any) -> None:
    made = material(model, toy_texts(40, seed=5), rows=(3, 8))
    for chosen in made.chosen:
        scores = made.subject.scores([chosen.reading])[0]
        share = np.exp(scores - np.logaddexp.reduce(scores))
        assert chosen.part_says == f"{model.classes[share.argmax()]}, {share.max():.0%}"
    assert any(chosen.part_says != chosen.says for chosen in made.chosen)
