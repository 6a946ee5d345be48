"""What a user would try before an LSTM: the majority class, and TF-IDF with a tuned logistic regression."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError, require
from holdfast.features.ngrams import TOKEN_PATTERNS, NgramScore

Array = NDArray[Any]

WEIGHTINGS: tuple[tuple[int, bool], ...] = ((1, True), (2, True), (2, False))
"""What is tried: the fewest documents a feature must occur in, and whether counts are taken as 1 + log."""

INVERSE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""The values of C that are tried, upwards until validation gets worse."""

_CONSTANT_LOG_ODDS = 20.0
_LEAST_PROBABILITY = 1e-12


def majority(train_targets: Array, classes: int) -> Array:
    """The probabilities of a predictor that knows only how often each class occurs.

    Args:
        train_targets: `[N]` class indices, or `[N, K]` booleans for several labels per row.
        classes: K.

    Returns:
        `[K]`: the share of each class, or of the rows that have each label.
    """
    targets = np.asarray(train_targets)
    if targets.ndim == 2:
        return np.asarray(targets.mean(axis=0, dtype=np.float64))
    return np.bincount(targets, minlength=classes) / len(targets)


class TfidfLogistic:
    """TF-IDF of words and word pairs with logistic regression, tuned on the validation texts.

    Where no training text has a word, marks (punctuation, emoji) are counted as words are.

    The texts are counted once; for each of WEIGHTINGS the penalty is lowered, each fit starting from the
    one before, until the validation log loss rises. The best by log loss stays as it was fitted on the
    training texts alone: the LSTM it is compared with learns from no others either.

    Attributes:
        chosen: after `fit`, what validation chose: `min_df`, `sublinear_tf`, `C`, `features`,
            `valid_log_loss`, `fits`.
    """

    chosen: dict[str, Any]

    def fit(
        self,
        texts: Sequence[str],
        targets: Array,
        valid_texts: Sequence[str],
        valid_targets: Array,
        *,
        multilabel: bool = False,
        classes: int | None = None,
    ) -> TfidfLogistic:
        """Count, weigh, fit and choose.

        Args:
            texts: the training texts, N of them.
            targets: `[N]` class indices, or `[N, K]` booleans when `multilabel`.
            valid_texts: the validation texts, which only choose.
            valid_targets: theirs.
            multilabel: whether a row can have any number of labels.
            classes: K, where the largest class index does not tell.

        Returns:
            Itself.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            DataError: no training text has a word or a mark.
        """
        text = require("sklearn.feature_extraction.text", "train", "the TF-IDF baseline")
        targets, valid_targets = np.asarray(targets), np.asarray(valid_targets)
        if classes is None:
            classes = targets.shape[1] if multilabel else int(max(targets.max(), valid_targets.max())) + 1
        self._tokens = _tokens_of(texts)
        self._counter = text.CountVectorizer(
            ngram_range=(1, 2), token_pattern=TOKEN_PATTERNS[self._tokens], dtype=np.float32
        )
        counts = self._counter.fit_transform(texts)
        valid_counts = self._counter.transform(valid_texts)
        documents = np.bincount(counts.indices, minlength=counts.shape[1])
        best, fits = math.inf, 0
        for min_df, sublinear in WEIGHTINGS:
            kept = np.flatnonzero(documents >= min_df)
            if len(kept) == 0:
                continue
            weighting = text.TfidfTransformer(sublinear_tf=sublinear)
            features = weighting.fit_transform(counts[:, kept])
            valid_features = weighting.transform(valid_counts[:, kept])
            path_best = math.inf
            model = _Logistic(classes, multilabel)
            for penalty in INVERSE_PENALTIES:
                model.fit(features, targets, penalty)
                fits += 1
                loss = _log_loss(model.predict_proba(valid_features), valid_targets)
                if loss >= path_best:
                    break
                path_best = loss
                if loss < best:
                    best = loss
                    self._kept, self._weighting, self._model = kept, weighting, copy.deepcopy(model)
                    self.chosen = {"min_df": min_df, "sublinear_tf": sublinear, "C": penalty}
        self.chosen |= {"features": len(self._kept), "valid_log_loss": best, "fits": fits}
        return self

    def predict_proba(self, texts: Sequence[str]) -> Array:
        """The probability of each class, or of each label.

        Args:
            texts: N texts.

        Returns:
            `[N, K]`, float64.
        """
        return self._model.predict_proba(
            self._weighting.transform(self._counter.transform(texts)[:, self._kept])
        )

    def score(self) -> NgramScore:
        """What was fitted, in the form in which a model keeps it; never and always become large log odds."""
        names = self._counter.get_feature_names_out()[self._kept]
        weight, bias = self._model.linear(len(names))
        return NgramScore(
            ngrams=tuple(names),
            scale=self._weighting.idf_[None, :].astype(np.float32),
            weight=weight,
            bias=bias,
            longest=2,
            tokens=self._tokens,
            counting="log counts" if self.chosen["sublinear_tf"] else "counts",
            chosen=self.chosen,
        )


def _tokens_of(texts: Sequence[str]) -> str:
    """The name of the first token pattern that finds something in the texts."""
    for name in ("words", "words and marks"):
        pattern = re.compile(TOKEN_PATTERNS[name])
        if any(pattern.search(text) for text in texts):
            return name
    raise DataError(
        f"none of the {len(texts)} training texts has a word or a mark; there is nothing to learn from: "
        "check which column is the text"
    )


class _Logistic:
    """Logistic regression over K classes, or K separate ones; each `fit` starts from the last."""

    def __init__(self, classes: int, multilabel: bool) -> None:
        linear = require("sklearn.linear_model", "train", "the TF-IDF baseline")
        self._classes, self._multilabel = classes, multilabel
        self._models = [
            linear.LogisticRegression(warm_start=True, max_iter=1000)
            for _ in range(classes if multilabel else 1)
        ]

    def fit(self, features: Any, targets: Array, penalty: float) -> None:
        columns = targets.astype(np.int64).T if self._multilabel else [targets]
        self._constant = [column[0] if (column == column[0]).all() else None for column in columns]
        for model, column, constant in zip(self._models, columns, self._constant, strict=True):
            if constant is None:
                model.set_params(C=penalty).fit(features, column)

    def linear(self, width: int) -> tuple[Array, Array]:
        """The weights `[K', width]` and biases `[K']` of log odds, float32; K' is 1 for two classes."""
        wanted = [1] if self._multilabel else list(range(self._classes))
        parts = [
            _class_rows(model, constant, wanted, width)
            for model, constant in zip(self._models, self._constant, strict=True)
        ]
        weight, bias = np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts])
        if not self._multilabel and self._classes == 2:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        return weight.astype(np.float32), bias.astype(np.float32)

    def predict_proba(self, features: Any) -> Array:
        width = 2 if self._multilabel else self._classes
        parts = []
        for model, constant in zip(self._models, self._constant, strict=True):
            part = np.zeros((features.shape[0], width))
            if constant is None:
                part[:, model.classes_] = model.predict_proba(features)
            else:
                part[:, constant] = 1.0
            parts.append(part)
        return np.stack([part[:, 1] for part in parts], axis=1) if self._multilabel else parts[0]


def _class_rows(model: Any, constant: Any, wanted: list[int], width: int) -> tuple[Array, Array]:
    """Weights and bias of each wanted class, up to what all share; classes without rows get -20."""
    rows = {k: (np.zeros(width), -_CONSTANT_LOG_ODDS) for k in wanted}
    if constant is not None:
        rows[int(constant)] = (np.zeros(width), _CONSTANT_LOG_ODDS)
    elif len(model.classes_) == 2:
        rows[model.classes_[0]] = (np.zeros(width), 0.0)
        rows[model.classes_[1]] = (model.coef_[0], model.intercept_[0])
    else:
        rows |= dict(zip(model.classes_, zip(model.coef_, model.intercept_, strict=True), strict=True))
    return np.array([rows[k][0] for k in wanted]), np.array([rows[k][1] for k in wanted])


def _log_loss(probabilities: Array, targets: Array) -> float:
    if targets.ndim == 2:
        right = np.where(targets, probabilities, 1 - probabilities)
    else:
        right = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(right, _LEAST_PROBABILITY)).mean())
