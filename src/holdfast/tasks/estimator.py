"""`TextClassifier`: text classification behind `fit`, `predict` and `score`, for scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError, require
from holdfast.tasks.configuration import configure
from holdfast.tasks.text_classification.learn import check_options, learn, read_splits
from holdfast.tasks.text_classification.lstm_part import Watch
from holdfast.tasks.text_classification.model import TextModel
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.tasks.text_classification.saved import save
from holdfast.training.history import EpochRow
from holdfast.training.progress import Listener
from holdfast.training.scores import ScoreTable

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator, ClassifierMixin
else:
    _base = require("sklearn.base", "train", "TextClassifier")
    BaseEstimator, ClassifierMixin = _base.BaseEstimator, _base.ClassifierMixin


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A text classifier for scikit-learn: an LSTM and a linear n-gram score, mixed as validation chooses.

    A share of the rows given to `fit` is held out to choose the epoch and the mixture. Every parameter is an
    option of `holdfast init text-classification` with the same default and meaning.

    Args:
        cell: the recurrent cell by name: lstm, peephole, layernorm, ... (`holdfast.cells.CELLS`).
        hidden: hidden units of each direction and layer, H.
        layers: stacked layers, L.
        bidirectional: also read from the end to the start.
        embedding: numbers in a token's vector.
        level: what a token is: word, character or bpe.
        epochs: passes over the training rows, at most.
        learning_rate: highest learning rate of AdamW.
        batch_size: texts in a batch, at most.
        naive: fit the n-gram score and mix it in.
        lstm: train the LSTM.
        valid_share: share of the rows held out for choosing.
        seed: of the split, the initial weights, the batches and the dropouts.
        threads: threads of torch; 0: as torch is set.
        options: further options by name, such as `{"network.pooling": ["last"]}`.

    Attributes:
        classes_: the labels, sorted, `[K]`.
        model_: the trained `TextModel`; its class names are the labels as text.
        scores_: scores of the model and its baselines on the held-out rows, which are optimistic.
        history_: one row per epoch.

    Example:
        >>> from holdfast import TextClassifier
        >>> texts, labels = ["good film", "bad film", "so good", "so bad"] * 30, [1, 0, 1, 0] * 30
        >>> texts = [f"{text} {index}" for index, text in enumerate(texts)]
        >>> TextClassifier(hidden=8, embedding=8).fit(texts, labels).predict(["a good one", "a bad one"])
        array([1, 0])
    """

    def __init__(
        self,
        *,
        cell: str = "lstm",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        embedding: int = 128,
        level: str = "word",
        epochs: int = 4,
        learning_rate: float = 2e-3,
        batch_size: int = 32,
        naive: bool = True,
        lstm: bool = True,
        valid_share: float = 0.1,
        seed: int = 0,
        threads: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.embedding = embedding
        self.level = level
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.naive = naive
        self.lstm = lstm
        self.valid_share = valid_share
        self.seed = seed
        self.threads = threads
        self.options = options

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> TextClassifier:
        """Learn from texts and their labels.

        Args:
            X: N texts: a list, an array or a series of strings.
            y: N labels: strings, integers or booleans.

        Returns:
            Itself.

        Raises:
            InputError: texts or labels are of the wrong type or number, or a parameter is wrong.
        """
        options = self._options()
        check_options(options)
        texts, labels = _texts(X), np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(texts):
            raise DataError(
                f"got {len(texts)} texts and labels of shape {labels.shape}; give one label for each"
            )
        names = [str(label) for label in labels.tolist()]
        splits = read_splits((texts, names), None, None, options)
        model, history = learn(splits, options, Watch(None, False, Listener()))
        by_name = dict(zip(names, labels, strict=True))
        self.model_: TextModel = model
        self.history_: list[EpochRow] = history
        self.scores_: ScoreTable = model.score(splits.valid, split="valid")
        labels_of_model = np.array([by_name[name] for name in model.classes], dtype=labels.dtype)
        self._order = np.argsort(labels_of_model, kind="stable")
        self.classes_ = labels_of_model[self._order]
        return self

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:
        """The probability of each label for each text, `[N, K]`, in the order of `classes_`.

        Raises:
            NotFittedError: `fit` has not been called.
            InputError: X holds something else than texts.
        """
        self._check_fitted()
        return np.asarray(self.model_.predict_proba(_texts(X))[:, self._order])

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """The most probable label of each text, `[N]`, of the type given to `fit`.

        Raises:
            NotFittedError: `fit` has not been called.
            InputError: X holds something else than texts.
        """
        likeliest = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[likeliest])

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save the model as a directory that `holdfast.load` and the command line read.

        Raises:
            NotFittedError: `fit` has not been called.
            ModelFileError: the place is taken or cannot be written.
        """
        self._check_fitted()
        return save(Path(path), self.model_, scores=self.scores_, history=self.history_, overwrite=overwrite)

    def _check_fitted(self) -> None:
        require("sklearn.utils.validation", "train", "TextClassifier").check_is_fitted(self, "model_")

    def _options(self) -> TextClassificationOptions:
        own = {name: value for name, value in self.get_params(deep=False).items() if name != "options"}
        chosen = configure(TextClassificationOptions, values={**own, **(self.options or {})})
        return dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, test_share=0.0))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _texts(X: Any) -> list[str]:
    """X as a list of texts.

    Raises:
        DataError: X is one string, has more than one axis, or holds something else than strings.
    """
    if isinstance(X, str) or not hasattr(X, "__len__"):
        raise DataError(f"X is {type(X).__name__}; give a list, an array or a series of texts")
    if len(getattr(X, "shape", (0,))) != 1:
        raise DataError(
            f"X has the shape {X.shape}; give one axis of texts, such as one column of a data frame"
        )
    listed = list(X)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise DataError(
                f"X[{index}] is {text!r} of type {type(text).__name__}; every text must be a string"
            )
    return listed
