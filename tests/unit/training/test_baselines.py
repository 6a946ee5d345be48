"""The baselines: what they learn, what validation chooses, and classes or words that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from holdfast.errors import DataError
from holdfast.training.baselines import INVERSE_PENALTIES, TfidfLogistic, majority
from holdfast.training.mixing import full_log_odds, probabilities

Array = np.ndarray[Any, Any]
WORDS = ("the", "a", "film", "plot", "actor", "scene", "was", "is", "of", "and")


def reviews(rows: int, seed: int = 0) -> tuple[list[str], Array]:
    """Texts of common words; `good` is four times likelier where the target is 1."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, rows)
    texts = []
    for target in targets:
        words = list(generator.choice(WORDS, size=8))
        opinion = "good" if generator.random() < (0.8 if target else 0.2) else "bad"
        words.insert(int(generator.integers(0, 8)), opinion)
        texts.append(" ".join(words))
    return texts, targets


def test_majority_is_the_share_of_each_class() -> None:
    np.testing.assert_array_equal(majority(np.array([0, 2, 2, 2]), 4), [0.25, 0, 0.75, 0])
    labels = np.array([[True, False], [True, False], [False, False], [True, True]])
    np.testing.assert_array_equal(majority(labels, 2), [0.75, 0.25])


def test_tfidf_finds_the_word_that_matters() -> None:
    model = TfidfLogistic().fit(*reviews(600), *reviews(200, seed=1))
    texts, targets = reviews(500, seed=2)
    probabilities = model.predict_proba(texts)
    assert probabilities.shape == (500, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # 80 % is what the data allows; 500 rows have a standard error of 1.8 %
    assert (probabilities.argmax(axis=1) == targets).mean() > 0.74
    good, bad = model.predict_proba(["good", "bad"])[:, 1]
    assert good > 0.7 > 0.3 > bad


def test_the_choice_is_the_best_of_the_grid_on_validation() -> None:
    train, valid = reviews(300), reviews(150, seed=1)
    model = TfidfLogistic().fit(*train, *valid)
    chosen = model.chosen
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b\w+\b",
        min_df=chosen["min_df"],
        sublinear_tf=chosen["sublinear_tf"],
    )
    features = vectorizer.fit_transform(train[0])
    assert chosen["features"] == features.shape[1]
    losses = {}
    for penalty in INVERSE_PENALTIES:
        plain = LogisticRegression(C=penalty, tol=1e-8, max_iter=5000).fit(features, train[1])
        shares = plain.predict_proba(vectorizer.transform(valid[0]))
        losses[penalty] = -np.log(shares[np.arange(150), valid[1]]).mean()
    assert min(losses, key=lambda penalty: losses[penalty]) == chosen["C"]
    # the fits here stop at scikit-learn's default tolerance of 1e-4
    assert chosen["valid_log_loss"] == pytest.approx(losses[chosen["C"]], rel=1e-3)


def test_validation_texts_teach_nothing() -> None:
    train = reviews(200)
    valid_texts, valid_targets = reviews(100, seed=1)
    marked = [text + " uniqueword" for text in valid_texts]
    model = TfidfLogistic().fit(*train, marked, valid_targets)
    first, second = model.predict_proba(["good film", "good film uniqueword"])
    assert first[1] == second[1]


def test_same_data_same_model() -> None:
    one, two = (TfidfLogistic().fit(*reviews(200), *reviews(80, seed=1)) for _ in range(2))
    texts, _ = reviews(50, seed=2)
    np.testing.assert_array_equal(one.predict_proba(texts), two.predict_proba(texts))
    assert one.chosen == two.chosen


def test_classes_that_training_lacks_get_no_probability() -> None:
    texts, targets = reviews(200)
    model = TfidfLogistic().fit(texts, 2 * targets, texts, 2 * targets, classes=4)
    probabilities = model.predict_proba(["good", ""])
    assert probabilities.shape == (2, 4)
    assert (probabilities[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_single_class_is_predicted_for_certain() -> None:
    texts, _ = reviews(20)
    zeros = np.zeros(20, dtype=int)
    model = TfidfLogistic().fit(texts, zeros, texts, zeros, classes=2)
    np.testing.assert_array_equal(model.predict_proba(["good"]), [[1, 0]])


def test_several_labels_per_row() -> None:
    texts, targets = reviews(400)
    labels = np.stack([targets == 1, targets == 0, np.zeros(400, bool), np.ones(400, bool)], axis=1)
    model = TfidfLogistic().fit(texts, labels, texts, labels, multilabel=True)
    probabilities = model.predict_proba(["good", "bad"])
    assert probabilities.shape == (2, 4)
    assert probabilities[0, 0] > 0.6 > 0.4 > probabilities[1, 0]
    np.testing.assert_array_equal(probabilities[:, 2:], [[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("case", "multilabel"),
    [
        ("binary", False),
        ("three", False),
        ("gap", False),
        ("two of three", False),
        ("single", False),
        ("labels", True),
    ],
)
def test_the_saved_form_predicts_the_same(case: str, multilabel: bool) -> None:
    texts, binary = reviews(200)
    targets = {
        "binary": binary,
        "three": np.arange(200) % 3,
        "gap": 3 * (np.arange(200) % 2) + (np.arange(200) % 3 == 0),
        "two of three": 2 * binary,
        "single": np.ones(200, dtype=int),
        "labels": np.stack([binary == 1, np.zeros(200, bool), np.ones(200, bool)], axis=1),
    }[case]
    classes = {"binary": 2, "gap": 6, "single": 2}.get(case, 3)
    model = TfidfLogistic().fit(texts, targets, texts, targets, multilabel=multilabel, classes=classes)
    again = probabilities(full_log_odds(model.score().log_odds(texts), classes), multilabel=multilabel)
    # float32 weights; a class that cannot be has e^-20 instead of 0
    np.testing.assert_allclose(again, model.predict_proba(texts), atol=2e-6)


def test_many_classes() -> None:
    texts = [f"word{k} filler" for k in range(5) for _ in range(20)]
    targets = np.repeat(np.arange(5), 20)
    model = TfidfLogistic().fit(texts, targets, texts, targets)
    np.testing.assert_array_equal(
        model.predict_proba([f"word{k}" for k in range(5)]).argmax(axis=1), np.arange(5)
    )


def test_texts_without_words_are_counted_by_their_marks() -> None:
    texts, targets = ["☺ !", "☹ ?", "☺ ☺", "☹ ☹ !"] * 10, np.array([1, 0, 1, 0] * 10)
    model = TfidfLogistic().fit(texts, targets, texts, targets)
    np.testing.assert_array_equal(model.predict_proba(["☺", "☹"]).argmax(axis=1), [1, 0])
    score = model.score()
    assert score.tokens == "words and marks"
    again = probabilities(full_log_odds(score.log_odds(texts), 2), multilabel=False)
    # float32 weights
    np.testing.assert_allclose(again, model.predict_proba(texts), atol=2e-6)


def test_texts_of_white_space_alone_are_refused() -> None:
    with pytest.raises(DataError, match="none of the 2 training texts has a word or a mark"):
        TfidfLogistic().fit([" ", ""], np.array([0, 1]), ["a"], np.array([0]))


def test_a_strong_penalty_is_chosen_where_words_mean_nothing() -> None:
    texts, _ = reviews(200)
    valid_texts, _ = reviews(100, seed=1)
    generator = np.random.default_rng(2)
    targets, valid_targets = generator.integers(0, 2, 200), generator.integers(0, 2, 100)
    model = TfidfLogistic().fit(texts, targets, valid_texts, valid_targets)
    assert model.chosen["C"] == INVERSE_PENALTIES[0] == 0.1
