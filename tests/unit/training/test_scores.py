"""The score table: its shape, its way to JSON and back, and what its sentences say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from holdfast.errors import ModelFileError
from holdfast.training.metrics import bounds, classification_scores, differences, resampled_together
from holdfast.training.scores import ScoreTable, data_hash
from holdfast.training.verdict import Score, outcome, sentences

Array = np.ndarray[Any, Any]
ROWS = 400


def predictor(wrong: slice) -> tuple[Array, Array]:
    """A predictor that is wrong on the rows of a slice."""
    targets = np.arange(ROWS) % 2
    predicted = targets.copy()
    predicted[wrong] = 1 - predicted[wrong]
    return np.where(np.eye(2)[predicted] == 1, 0.8, 0.2), targets


def table(**options: Any) -> ScoreTable:
    naive, targets = predictor(slice(0, 80))
    both, _ = predictor(slice(0, 40))
    return ScoreTable.measure(
        {"majority": np.full((ROWS, 2), 0.5), "naive": naive, "both": both}, targets, resamples=200, **options
    )


def test_values_intervals_and_differences_are_those_of_the_metrics() -> None:
    naive, targets = predictor(slice(0, 80))
    both, _ = predictor(slice(0, 40))
    scores = table()
    assert scores.model == "both"
    assert scores.metrics == ["accuracy", "macro_f1", "f1", "auroc", "calibration_error"]
    values = classification_scores(naive, targets)
    predictors = {"naive": naive, "both": both}
    draws = resampled_together(classification_scores, predictors, targets, resamples=200)
    assert scores.predictors["naive"] == {n: (values[n], *bounds(draws["naive"][n])) for n in values}
    compared = differences(classification_scores(both, targets), values, draws["both"], draws["naive"])
    assert scores.differences["naive"] == {n: (d["value"], *d["ci95"]) for n, d in compared.items()}
    assert list(scores.differences) == ["majority", "naive"]


def test_json_has_the_documented_shape_and_comes_back() -> None:
    scores = table(data_hash="sha256:00", duplicated=np.arange(ROWS) < 10)
    text = json.dumps(scores.as_dict(), allow_nan=False)
    value = json.loads(text)
    assert value["test"]["accuracy"]["value"] == 0.9
    assert len(value["test"]["accuracy"]["ci95"]) == 2
    assert value["baselines"]["majority"]["accuracy"] == 0.5
    assert (value["rows"], value["split"], value["data_hash"]) == (ROWS, "test", "sha256:00")
    assert value["without_duplicates"]["rows"] == ROWS - 10
    assert ScoreTable.from_dict(value) == scores


@pytest.mark.parametrize(
    "change",
    [
        {"predictors": 3},
        {"predictors": []},
        {"predictors": [{"name": "both", "scores": {"accuracy": {"value": None, "ci95": [0, 1]}}}]},
        {"predictors": [{"name": "both", "scores": {"accuracy": {"value": 1, "ci95": [0]}}}]},
        {"rows": "many"},
        {"split": "rows"},
        {"bootstrap": None},
        {"without_duplicates": {"rows": 1}},
    ],
)
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match=r"metrics\.json is not a table of scores"):
        ScoreTable.from_dict({**table().as_dict(), **change})


def test_rows_that_are_also_in_training_are_scored_apart() -> None:
    naive, targets = predictor(slice(0, 80))
    duplicated = np.zeros(ROWS, dtype=bool)
    duplicated[:20] = True
    scores = table(duplicated=duplicated)
    assert scores.without_duplicates is not None
    expected = classification_scores(naive[20:], targets[20:])["accuracy"]
    assert scores.without_duplicates.predictors["naive"]["accuracy"].value == expected
    assert "Of these rows the model has seen the text of 20" in scores.verdict()[-1]
    assert "94.7 % instead of 90.0 %" in scores.verdict()[-1]
    assert table(duplicated=np.zeros(ROWS, dtype=bool)).without_duplicates is None
    everything = table(duplicated=np.ones(ROWS, dtype=bool))
    assert everything.without_duplicates is None
    assert "say nothing of new texts" in everything.verdict()[-1]


def test_scores_of_validation_rows_are_called_optimistic() -> None:
    assert "on other rows expect lower scores" in table(split="valid").verdict()[-1]
    assert not any("expect lower scores" in line for line in table(split="test").verdict())


def test_verdict_says_beats_only_when_the_interval_does() -> None:
    lines = table().verdict()
    assert lines[0].startswith("the model beats majority by 40.0 points of accuracy (95 % interval ")
    assert lines[1].startswith("the model beats naive by 10.0 points of accuracy (95 % interval ")
    assert lines[2:] == ["the model beats every baseline here in accuracy."]


def test_verdict_of_a_draw() -> None:
    lines = sentences("the model", {"tfidf": Score(0.002, -0.003, 0.007)}, "accuracy", 1000)
    first, last = lines
    assert first == (
        "the model does not beat tfidf: the difference of 0.2 points of accuracy "
        "(95 % interval -0.3 to 0.7) includes 0."
    )
    assert last == (
        "the model does not beat all its baselines: on these 1,000 rows its accuracy cannot be told from "
        "that of tfidf, which is simpler."
    )


def test_verdict_of_a_loss() -> None:
    differences = {"majority": Score(0.3, 0.2, 0.4), "tfidf": Score(-0.02, -0.03, -0.01)}
    lines = sentences("the model", differences, "macro_f1", 1000)
    assert lines[1:] == [
        "the model is worse than tfidf by 2.0 points of macro F1 (95 % interval 1.0 to 3.0).",
        "the model is not worth using here: tfidf has the better macro F1.",
    ]


def test_parts_of_the_model_are_compared_but_are_no_baselines() -> None:
    lines = sentences("the model", {"lstm": Score(-0.02, -0.03, -0.01)}, "accuracy", 10)
    assert lines == [
        "the model is worse than lstm by 2.0 points of accuracy (95 % interval 1.0 to 3.0).",
        "the model is also worse than its own part lstm, which is to be had alone.",
    ]


def test_smaller_calibration_errors_are_better() -> None:
    assert outcome(Score(-0.02, -0.03, -0.01), "calibration_error") == "beats"
    assert outcome(Score(0.02, 0.01, 0.03), "calibration_error") == "is worse than"
    lines = sentences("the model", {"tfidf": Score(-0.02, -0.03, -0.01)}, "calibration_error", 10)
    assert lines[0] == "the model beats tfidf by 2.0 points of calibration error (95 % interval 1.0 to 3.0)."


def test_small_differences_do_not_print_as_zero() -> None:
    lines = sentences("the model", {"tfidf": Score(0.0004, 0.0002, 0.0006)}, "accuracy", 10)
    assert lines[0] == "the model beats tfidf by 0.04 points of accuracy (95 % interval 0.02 to 0.06)."


def test_several_labels_per_row() -> None:
    generator = np.random.default_rng(0)
    targets = generator.random((50, 3)) < 0.4
    scores = ScoreTable.measure(
        {"majority": np.full((50, 3), 0.4), "both": 0.2 + 0.6 * targets}, targets, resamples=50
    )
    assert scores.metrics == ["exact_match", "micro_f1", "macro_f1", "macro_auroc"]
    assert scores.verdict()[0].startswith("the model beats majority by")
    assert scores.verdict()[0].count("exact matches") == 1


def test_one_row_gives_no_false_certainty() -> None:
    scores = ScoreTable.measure(
        {"majority": np.array([[0.6, 0.4]]), "both": np.array([[0.1, 0.9]])}, np.array([1]), resamples=20
    )
    assert "AUROC" not in " ".join(scores.verdict())
    assert ScoreTable.from_dict(json.loads(json.dumps(scores.as_dict()))) == scores


def test_a_split_cannot_take_the_name_of_another_key() -> None:
    for name in ("rows", "baselines", "two words", ""):
        with pytest.raises(ValueError, match="cannot be called"):
            table(split=name)


def test_data_hash_sees_texts_labels_and_their_borders() -> None:
    hashes = {
        data_hash(["ab", "c"]),
        data_hash(["a", "bc"]),
        data_hash(["c", "ab"]),
        data_hash(["ab", "c"], ["x", "y"]),
        data_hash(["ab", "c"], ["x", "z"]),
    }
    assert len(hashes) == 5
    assert data_hash(["ab", "c"]) == data_hash(iter(["ab", "c"]))
    assert data_hash([]) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
