"""A trained text classifier as the inspection sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_texts import TINY, toy_texts

from holdfast.errors import InputError
from holdfast.inspection.following import following
from holdfast.inspection.traced import strands_of
from holdfast.tasks import train
from holdfast.tasks.text_classification.inspect import properties_of, readings_of, subject_of
from holdfast.tasks.text_classification.lstm_part import log_odds


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train("text-classification", toy_texts(), tmp_path_factory.mktemp("m") / "model", **TINY).model


def table(model: Any, texts: list[str], labels: list[str] | None = None) -> Any:
    return model.read(texts if labels is None else (texts, labels), need_labels=labels is not None)


def test_a_reading_gives_the_scores_of_the_text(model: Any) -> None:
    texts = ["the film was word0", "a plot of word1 and the actor is word1 of scene", "", "nonsense"]
    readings = readings_of(model, table(model, texts))
    subject = subject_of(model)
    assert subject.outputs == model.classes
    expected = log_odds(model.network, model.tokeniser.encode(texts))
    np.testing.assert_allclose(subject.scores(readings), expected, rtol=1e-5, atol=1e-6)
    one_by_one = np.concatenate([subject.scores([reading]) for reading in readings])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-5, atol=1e-6)


def test_readings_are_named_by_their_row_and_know_their_label(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("text,label\nthe film,kind0\n,kind1\nthe word1 plot,kind1\n")
    read = model.read(path)
    first, last = readings_of(model, read)
    assert first.name.endswith("some.csv, row 2")
    assert last.name.endswith("some.csv, row 4")
    assert (first.target, last.target) == ("kind0", "kind1")
    assert last.steps == ("the", "word1", "plot")
    (chosen,) = readings_of(model, read, [1])
    assert chosen.steps == last.steps
    assert readings_of(model, table(model, ["the film"]))[0].target is None


def test_readings_have_no_dropout_and_leave_the_network_as_it_was(model: Any) -> None:
    model.network.train()
    made = [readings_of(model, table(model, ["the film was word0 and word1"]))[0].x for _ in range(2)]
    assert model.network.training
    assert (made[0] == made[1]).all()
    model.network.eval()


def test_the_words_that_speak_for_a_class_are_found_in_the_units(model: Any) -> None:
    texts, labels = toy_texts(60, seed=3)
    readings = readings_of(model, table(model, texts, labels))
    properties = properties_of(model, readings)
    assert list(properties) == ["position", "steps left", "the word speaks for kind1"]
    for reading, scores in zip(readings, properties["the word speaks for kind1"], strict=True):
        assert len(scores) == len(reading.steps)
        if "word1" in reading.steps:
            assert scores[reading.steps.index("word1")] == max(scores) > 0
        if "word0" in reading.steps:
            assert scores[reading.steps.index("word0")] == min(scores) < 0
    found = {one.name: one for one in following(strands_of(subject_of(model), readings), properties)}
    words = found["the word speaks for kind1"]
    assert words.beyond > 0
    assert abs(words.followers[0].correlation) > 0.5


def test_a_model_of_three_classes_has_a_property_for_each(tmp_path: Path) -> None:
    data = toy_texts(150, classes=3)
    several = train("text-classification", data, tmp_path / "model", **{**TINY, "epochs": 1}).model
    readings = readings_of(several, table(several, ["word0 word1 word2 film"]))
    found = [name for name in properties_of(several, readings) if "speaks" in name]
    assert found == [f"the word speaks for kind{k}" for k in range(3)]


def test_a_model_without_an_lstm_is_refused(tmp_path: Path) -> None:
    options = {**TINY, "parts": {"lstm": False}}
    plain = train("text-classification", toy_texts(), tmp_path / "model", **options).model
    with pytest.raises(InputError, match="there are no gates to look at"):
        subject_of(plain)
    with pytest.raises(InputError, match="there are no gates to look at"):
        readings_of(plain, table(plain, ["film"]))
