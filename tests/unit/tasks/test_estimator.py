"""TextClassifier in the hands of scikit-learn.

scikit-learn's own `check_estimator` feeds matrices of numbers; of its checks those that look at
parameters only are run here; the others need a classifier of numbers.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)
from toy_texts import toy_texts

import holdfast
from holdfast.errors import ConfigError, DataError, InputError
from holdfast.tasks.configuration import configure
from holdfast.tasks.estimator import TextClassifier
from holdfast.tasks.text_classification.options import TextClassificationOptions

TINY: dict[str, Any] = {
    "hidden": 6,
    "embedding": 6,
    "epochs": 4,
    "learning_rate": 0.03,
    "batch_size": 16,
    "threads": 1,
    "valid_share": 0.2,
}
TEXTS, LABELS = toy_texts(120)


@pytest.fixture(scope="module")
def fitted() -> TextClassifier:
    return TextClassifier(**TINY).fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    "check",
    [
        check_parameters_default_constructible,
        check_no_attributes_set_in_init,
        check_get_params_invariance,
        check_set_params,
    ],
)
def test_parameters_are_those_of_a_scikit_learn_estimator(check: Any) -> None:
    check("TextClassifier", TextClassifier())


def test_defaults_are_those_of_the_options() -> None:
    signature = inspect.signature(TextClassifier.__init__).parameters
    own = {name: one.default for name, one in signature.items() if name not in ("self", "options")}
    assert configure(TextClassificationOptions, values=own) == TextClassificationOptions()


def test_learns_and_keeps_the_contract(fitted: TextClassifier) -> None:
    proba = fitted.predict_proba(TEXTS)
    assert fitted.score(TEXTS, LABELS) > 0.9
    assert list(fitted.classes_) == sorted(set(LABELS))
    np.testing.assert_allclose(proba.sum(1), 1.0, atol=1e-12)
    assert list(fitted.predict(TEXTS)) == list(fitted.classes_[proba.argmax(1)])
    assert fitted.scores_.split == "valid"
    assert len(fitted.history_) == 4


def test_a_clone_fits_to_the_same_probabilities(fitted: TextClassifier) -> None:
    again = clone(fitted).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


@pytest.mark.parametrize("names", [(1, 0), (10, 9), (True, False), ("yes", "no"), (2.0, 0.0)])
def test_labels_come_back_as_they_were_given(names: tuple[Any, Any]) -> None:
    labels = [names[label == sorted(set(LABELS))[0]] for label in LABELS]
    model = TextClassifier(**TINY, lstm=False).fit(TEXTS, labels)
    assert list(model.classes_) == sorted(names)
    assert model.classes_.dtype == np.asarray(labels).dtype
    assert model.score(TEXTS, labels) > 0.9
    assert set(model.predict(TEXTS).tolist()) == set(names)


@pytest.mark.parametrize("series", [tuple, np.array, pandas.Series, polars.Series])
def test_takes_lists_arrays_and_series(series: Any) -> None:
    model = TextClassifier(**TINY, lstm=False).fit(series(TEXTS), series(LABELS))
    assert model.score(series(TEXTS), LABELS) > 0.9


def test_in_a_pipeline_a_grid_search_and_a_cross_validation() -> None:
    shout = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = Pipeline([("shout", shout), ("classify", TextClassifier(**TINY, lstm=False))])
    assert cross_val_score(pipeline, TEXTS, LABELS, cv=2).min() > 0.8
    search = GridSearchCV(TextClassifier(**TINY), {"lstm": [True, False], "seed": [0]}, cv=2)
    search.fit(TEXTS, LABELS)
    assert set(search.best_params_) == {"lstm", "seed"}
    assert search.best_score_ > 0.8


def test_saves_what_holdfast_loads(fitted: TextClassifier, tmp_path: Path) -> None:
    path = fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(
        holdfast.load(path).predict_proba(TEXTS), fitted.model_.predict_proba(TEXTS)
    )


def test_further_options_are_passed_on() -> None:
    model = TextClassifier(**TINY, options={"network.pooling": ["last"], "warmup": 0.5})
    options = model.fit(TEXTS, LABELS).model_.options
    assert options.network.pooling == ("last",)
    assert options.training.warmup == 0.5


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (TEXTS, LABELS[:-1], "120 texts and labels of shape"),
        ([*TEXTS[:-1], None], LABELS, r"X\[119\] is None"),
        ([*TEXTS[:-1], float("nan")], LABELS, r"X\[119\] is nan of type float"),
        (np.array([TEXTS]).T, LABELS, r"X has the shape \(120, 1\)"),
        ("one text", LABELS, "X is str"),
        (TEXTS, [1] * 120, "at least two classes"),
        (TEXTS, [[1]] * 120, "give one label for each"),
    ],
)
def test_wrong_rows_are_refused(X: Any, y: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        TextClassifier(**TINY).fit(X, y)


def test_wrong_parameters_are_refused_by_fit() -> None:
    with pytest.raises(ConfigError, match="hidden is 0; it must be at least 1"):
        TextClassifier(hidden=0).fit(TEXTS, LABELS)
    with pytest.raises(InputError, match="no option 'hiden'"):
        TextClassifier(options={"hiden": 3}).fit(TEXTS, LABELS)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_an_unfitted_one_says_so(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(TextClassifier(), method)(TEXTS)
