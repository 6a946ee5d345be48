"""What a report of a text classifier is made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_texts import TINY, toy_texts

from holdfast.tasks import train
from holdfast.tasks.text_classification.report import material_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train("text-classification", toy_texts(), tmp_path_factory.mktemp("m") / "model", **TINY).model


def material(model: Any, data: Any, **options: Any) -> Any:
    bundle: Any = SimpleNamespace(path="some/model", files={})
    return material_of(model, bundle, data, **options)


def test_the_part_that_is_explained_has_its_own_say(model: Any) -> None:
    made = material(model, toy_texts(40, seed=5), rows=(3, 8))
    for chosen in made.chosen:
        scores = made.subject.scores([chosen.reading])[0]
        share = np.exp(scores - np.logaddexp.reduce(scores))
        assert chosen.part_says == f"{model.classes[share.argmax()]}, {share.max():.0%}"
    assert any(chosen.part_says != chosen.says for chosen in made.chosen)
