"""The n-gram score: its ratios by hand, what it learns, and what it accepts from a file."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from holdfast.errors import DataError, ModelFileError
from holdfast.features.ngrams import MAX_LONGEST, NgramScore, decisions, log_count_ratio

Array = np.ndarray[Any, Any]
FILLERS = ("the", "a", "film", "plot", "was", "is")


def texts_of(rows: int, classes: int, seed: int = 0) -> tuple[list[str], Array]:
    """Texts of common words and the one word that tells their class."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, rows)
    texts = [" ".join([*generator.choice(FILLERS, 4), f"mark{target}", "!"]) for target in targets]
    return texts, targets


def fitted(classes: int) -> NgramScore:
    texts, targets = texts_of(80, classes)
    valid_texts, valid_targets = texts_of(30, classes, seed=1)
    return NgramScore.fit(
        texts, decisions(targets, classes), valid_texts, decisions(valid_targets, classes), min_count=1
    )


def reloaded(score: NgramScore) -> NgramScore:
    return NgramScore.from_saved(json.loads(json.dumps(score.facts())), score.arrays("p"), "p")


def test_decisions() -> None:
    targets = np.array([1, 0, 2])
    assert decisions(np.array([1, 0]), 2).tolist() == [[True], [False]]
    assert decisions(targets, 3).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]
    labels = np.array([[True, False], [True, True]])
    assert decisions(labels, 2).tolist() == labels.tolist()


def test_log_count_ratio_by_hand() -> None:
    counts = csr_matrix(np.array([[1, 0, 2], [1, 1, 0], [0, 1, 0]], np.float32))
    ratio = log_count_ratio(counts, np.array([True, True, False]))
    # p = 1 + (2, 1, 2) of 8, q = 1 + (0, 1, 0) of 4
    expected = [math.log((3 / 8) / (1 / 4)), math.log((2 / 8) / (2 / 4)), math.log((3 / 8) / (1 / 4))]
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)  # float32
    assert ratio.dtype == np.float32


def test_log_count_ratio_without_one_side() -> None:
    counts = csr_matrix(np.array([[1, 0], [1, 1]], np.float32))
    ratio = log_count_ratio(counts, np.array([True, True]))
    np.testing.assert_allclose(ratio, [math.log((3 / 5) / (1 / 2)), math.log((2 / 5) / (1 / 2))], rtol=1e-6)


def test_the_score_by_hand() -> None:
    score = NgramScore(
        ngrams=("good", "not", "not good"),
        scale=np.array([[3.0, -4.0, 12.0]], np.float32),
        weight=np.array([[2.0, 1.0, -5.0]], np.float32),
        bias=np.array([0.5], np.float32),
        longest=2,
    )
    found = score.log_odds(["Good good?", "not good", "nothing", ""])
    # one word has length 1 whatever its scale; (3, -4, 12) has the length 13
    expected = [2.5, 0.5 + (2 * 3 - 1 * 4 - 5 * 12) / 13, 0.5, 0.5]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("counting", "heights"),
    [("present", (1.0, 1.0)), ("counts", (3.0, 1.0)), ("log counts", (1 + math.log(3), 1.0))],
)
def test_ways_of_counting(counting: Any, heights: tuple[float, float]) -> None:
    score = NgramScore(
        ngrams=("x", "y"),
        scale=np.ones((1, 2), np.float32),
        weight=np.array([[1.0, 10.0]], np.float32),
        bias=np.zeros(1, np.float32),
        longest=1,
        counting=counting,
    )
    expected = (heights[0] + 10 * heights[1]) / math.hypot(*heights)
    assert score.log_odds(["x x y x"])[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_the_word_that_matters(classes: int) -> None:
    score = fitted(classes)
    texts, targets = texts_of(60, classes, seed=2)
    odds = score.log_odds(texts)
    assert odds.shape == (60, 1 if classes == 2 else classes)
    predicted = (odds[:, 0] > 0).astype(int) if classes == 2 else odds.argmax(1)
    np.testing.assert_array_equal(predicted, targets)
    assert score.chosen is not None
    assert score.longest in (2, 3)


def test_what_was_chosen_has_the_loss_it_says() -> None:
    score = fitted(2)
    texts, targets = texts_of(30, 2, seed=1)
    odds = score.log_odds(texts)[:, 0].astype(np.float64)
    loss = np.log1p(np.exp(np.where(targets == 1, -odds, odds))).mean()
    assert score.chosen is not None
    assert score.chosen["valid_loss"] == pytest.approx(loss, rel=1e-5)  # float32 scores


def test_validation_texts_teach_no_words() -> None:
    texts, targets = texts_of(40, 2)
    score = NgramScore.fit(texts, decisions(targets, 2), ["onlyhere mark1"], np.array([[True]]))
    assert not any("onlyhere" in ngram for ngram in score.ngrams)


def test_min_count_leaves_out_rare_ngrams() -> None:
    texts, targets = texts_of(40, 2)
    texts[0] += " rareword"
    arguments = (texts, decisions(targets, 2), texts[:10], decisions(targets[:10], 2))
    assert any("rareword" in ngram for ngram in NgramScore.fit(*arguments).ngrams)
    assert not any("rareword" in ngram for ngram in NgramScore.fit(*arguments, min_count=2).ngrams)


def test_several_labels_and_decisions_without_a_choice() -> None:
    texts, targets = texts_of(40, 2)
    decided = np.stack([targets == 1, targets == 0, np.ones(40, bool), np.zeros(40, bool)], axis=1)
    score = NgramScore.fit(texts, decided, texts, decided)
    odds = score.log_odds(["mark1", "mark0"])
    assert odds.shape == (2, 4)
    assert odds[0, 0] > 0 > odds[1, 0]
    assert odds[1, 1] > 0 > odds[0, 1]
    constant = np.float32(math.log(40.5 / 0.5))
    np.testing.assert_array_equal(odds[:, 2:], [[constant, -constant]] * 2)


@pytest.mark.parametrize("classes", [2, 3])
def test_no_texts_no_scores(classes: int) -> None:
    found = fitted(classes).log_odds([])
    assert found.shape == (0, 1 if classes == 2 else classes)
    assert found.dtype == np.float32


@pytest.mark.parametrize("classes", [2, 3])
def test_what_was_saved_gives_the_same_bits(classes: int) -> None:
    score, (texts, _) = fitted(classes), texts_of(50, classes, seed=3)
    again = reloaded(score)
    assert again.log_odds(texts).tobytes() == score.log_odds(texts).tobytes()
    assert again.facts() == score.facts()


def test_the_same_texts_give_the_same_bits() -> None:
    one, two = fitted(3), fitted(3)
    assert one.facts() == two.facts()
    assert all(one.arrays("p")[name].tobytes() == two.arrays("p")[name].tobytes() for name in one.arrays("p"))


FACTS: dict[str, list[Any]] = {
    "ngrams": [None, 3, "abc", [], ["a"], ["a", "a"], ["a", 1], ["a", None], ["a", ["b"]], ["a", "b", "c"]],
    "longest": [None, "2", 0, -1, MAX_LONGEST + 1, 1.5, True, math.inf, [2]],
    "tokens": [None, "letters", ["words"], {}, 1],
    "counting": [None, "never", ["present"], {}],
    "chosen": [None, 1, "x", [1]],
}
ARRAYS: dict[str, list[Array]] = {
    "scale": [np.ones(2), np.ones((2, 2)), np.ones((1, 3)), np.ones((1, 1, 2)), np.array(1.0)],
    "weight": [np.ones(2), np.ones((2, 2)), np.ones((1, 3)), np.array(1.0), np.zeros((0, 2))],
    "bias": [np.ones((1, 1)), np.ones(2), np.array(1.0), np.zeros(0)],
}


def small() -> NgramScore:
    ones = np.ones((1, 2), np.float32)
    return NgramScore(("a", "b"), ones, ones, np.zeros(1, np.float32), 2, chosen={})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FACTS.items() for value in values]
)
def test_a_damaged_fact_is_refused(name: str, value: Any) -> None:
    score = small()
    with pytest.raises(ModelFileError, match="the saved n-gram score 'p'"):
        NgramScore.from_saved({**score.facts(), name: value}, score.arrays("p"), "p")


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in ARRAYS.items() for value in values]
)
def test_a_damaged_array_is_refused(name: str, value: Array) -> None:
    score = small()
    with pytest.raises(ModelFileError, match="the saved n-gram score 'p'"):
        NgramScore.from_saved(score.facts(), score.arrays("p") | {f"p.{name}": value.astype(np.float32)}, "p")


@pytest.mark.parametrize("name", ["scale", "weight", "bias"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.bool_])
def test_an_array_of_another_type_is_refused(name: str, dtype: Any) -> None:
    score = small()
    arrays = score.arrays("p")
    arrays[f"p.{name}"] = arrays[f"p.{name}"].astype(dtype)
    with pytest.raises(ModelFileError, match=np.dtype(dtype).name):
        NgramScore.from_saved(score.facts(), arrays, "p")


@pytest.mark.parametrize("name", [*FACTS, *ARRAYS])
def test_a_missing_field_is_named(name: str) -> None:
    score = small()
    facts, arrays = score.facts(), score.arrays("p")
    facts.pop(name, None)
    arrays.pop(f"p.{name}", None)
    with pytest.raises(ModelFileError, match=name):
        NgramScore.from_saved(facts, arrays, "p")


@pytest.mark.parametrize("facts", [None, [], "facts", 3])
def test_facts_that_are_none_are_refused(facts: Any) -> None:
    with pytest.raises(ModelFileError):
        NgramScore.from_saved(facts, small().arrays("p"), "p")


def test_texts_that_share_nothing_and_texts_without_words() -> None:
    texts, decided = [f"word{index}" for index in range(20)], np.arange(20)[:, None] % 2 == 0
    assert len(NgramScore.fit(texts, decided, texts, decided, min_count=2).ngrams) == 20
    with pytest.raises(DataError, match="none of the training texts has a word or a mark"):
        NgramScore.fit(["  "] * 20, decided, texts, decided)
