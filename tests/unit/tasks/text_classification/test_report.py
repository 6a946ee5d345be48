"""What a report of a text classifier is made of."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_texts import TINY, toy_texts

from holdfast.data.duplicates import text_hashes
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


def test_rows_it_was_trained_on_do_not_say_how_sure_it_may_be(model: Any) -> None:
    texts, labels = toy_texts()
    learnt = int(np.isin(text_hashes(texts), model.seen["train"]).sum())
    made = material(model, (texts, labels))
    assert made.probabilities is None
    assert made.targets is None
    assert made.facts["trained on"].endswith(f"; {learnt} of these 150 rows are among them")
    assert made.facts["calibration"] == f"left out: {learnt} of these 150 rows were trained on"

    more_texts, more_labels = toy_texts(120, seed=5)
    new = ~np.isin(text_hashes(more_texts), model.seen["train"])
    made = material(model, (texts + more_texts, labels + more_labels))
    unseen = 150 - learnt + int(new.sum())
    assert unseen >= 100
    assert (len(made.probabilities), len(made.targets)) == (unseen, unseen)
    assert "calibration" not in made.facts


def test_rows_that_are_chosen_are_new_to_the_model_where_there_are_such() -> None:
    sure, steps = np.array([[0.99, 0.01], [0.9, 0.1], [0.8, 0.2]]), np.array([9, 9, 500])
    learnt = np.array([True, False, False])
    assert list(choose(sure, np.zeros(3, int), steps, learnt)) == [1]
    assert list(choose(sure, np.zeros(3, int), steps, np.array([True, True, False]))) == [2]
    assert list(choose(sure, np.zeros(3, int), steps, np.ones(3, bool))) == [0, 1]


def test_the_part_that_is_explained_has_its_own_say(model: Any) -> None:
    made = material(model, toy_texts(40, seed=5), rows=(3, 8))
    for chosen in made.chosen:
        scores = made.subject.scores([chosen.reading])[0]
        share = np.exp(scores - np.logaddexp.reduce(scores))
        assert chosen.part_says == f"{model.classes[share.argmax()]}, {share.max():.0%}"
    assert any(chosen.part_says != chosen.says for chosen in made.chosen)
