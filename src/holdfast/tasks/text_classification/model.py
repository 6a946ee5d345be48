"""A trained text classifier: two parts, the mixture of them, and what it needs to explain itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.data.duplicates import text_hashes
from holdfast.data.table import TextTable, read_texts
from holdfast.errors import InputError
from holdfast.features.ngrams import NgramScore
from holdfast.features.tokens import Tokeniser
from holdfast.nn.network import TextNetwork
from holdfast.tasks.text_classification.lstm_part import Array, log_odds
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.training.mixing import Mixture, full_log_odds, probabilities
from holdfast.training.scores import ScoreTable, data_hash

MULTILABEL_THRESHOLD = 0.5
RESAMPLES, FEWER_RESAMPLES, MANY_ROWS = 1000, 200, 200_000


@dataclass(frozen=True)
class TextTrace:
    """What happened inside the network while it read one text.

    Attributes:
        tokens: the T tokens as the network saw them.
        values: each named value of the cell (`i f g o c h`) as `[L, D, T, H]`, float32.
        probabilities: of each class, `[K]`.
        classes: their names.
    """

    tokens: list[str]
    values: dict[str, NDArray[np.float32]]
    probabilities: Array
    classes: tuple[str, ...]


@dataclass(frozen=True)
class TextModel:
    """A trained text classifier; `holdfast.load` gives one.

    Attributes:
        classes: the K class names, sorted.
        options: with which it was trained.
        tokeniser: fitted on the training rows.
        network: the LSTM part; None where it was switched off.
        naive: the n-gram part; None where it was switched off.
        tfidf: the baseline, kept so that every later score has it beside it.
        mixtures: how the parts are mixed, by name; the last one is the model: `both` after each part alone.
        prior: the share of each class in the training rows, `[K]`: the majority baseline.
        seen: sorted `data.duplicates.text_hashes` of the training (`train`) and the validation rows
            (`valid`).
        training: the training rows' source, number and hash, and how the training went.
    """

    classes: tuple[str, ...]
    options: TextClassificationOptions
    tokeniser: Tokeniser
    network: TextNetwork | None
    naive: NgramScore | None
    tfidf: NgramScore
    mixtures: dict[str, Mixture]
    prior: Array
    seen: Mapping[str, NDArray[np.int64]]
    training: dict[str, Any]

    @property
    def multilabel(self) -> bool:
        """Whether a text may have several labels."""
        return self.options.data.label_separator is not None

    def predict_proba(self, texts: Sequence[str]) -> Array:
        """The probability of each class for each text.

        Args:
            texts: N texts; an empty one gets what the model says about no words at all.

        Returns:
            `[N, K]`, in the order of `classes`. Rows add up to 1, except with several labels per text.

        Raises:
            InputError: `texts` is one string, or holds something else than strings.
        """
        texts = checked_texts(texts)
        return self._mixed(list(self.mixtures)[-1], *self._parts(texts))

    def predict(self, texts: Sequence[str]) -> list[Any]:
        """The most probable class of each text, or the tuple of its labels where it may have several.

        Args:
            texts: N texts.

        Returns:
            N class names, or N tuples of class names.

        Raises:
            InputError: `texts` is one string, or holds something else than strings.
        """
        return self.names(self.predict_proba(texts))

    def names(self, proba: Array) -> list[Any]:
        """Class names of probabilities `[N, K]`."""
        if self.multilabel:
            return [
                tuple(name for name, p in zip(self.classes, row, strict=True) if p >= MULTILABEL_THRESHOLD)
                for row in proba
            ]
        return [self.classes[index] for index in proba.argmax(1)]

    def evaluate(
        self, data: Any, *, split: str = "given", text: str | None = None, label: str | None = None
    ) -> ScoreTable:
        """Score the model on labelled rows, beside its parts and the baselines.

        Rows whose text the model has seen in training or validation are counted, and the scores are given
        with and without them.

        Args:
            data: whatever `holdfast.train` takes.
            split: what to call these rows.
            text: the column of the texts; None: as in training.
            label: the column of the labels; None: as in training.

        Raises:
            DataError: the rows cannot be used; an unknown label is named with its row.
        """
        return self.score(self.read(data, text=text, label=label), split=split)

    def read(
        self,
        data: Any,
        *,
        text: str | None = None,
        label: str | None = None,
        encoding: str | None = None,
        need_labels: bool = True,
    ) -> TextTable:
        """Rows for this model: its classes, and the columns it was trained with where none are named.

        Args:
            data: whatever `holdfast.train` takes.
            text: the column of the texts; None: as in training, except in a folder, which has no columns.
            label: the column of the labels; None: likewise.
            encoding: of a text file; None: as in training.
            need_labels: whether labels are wanted; without them every record is kept, empty ones too.

        Raises:
            DataError: the rows cannot be used; an unknown label is named with its row.
        """
        options = self.options.data
        folder = isinstance(data, str | Path) and Path(data).is_dir()
        columns = {"text": text or (None if folder else options.text)}
        if need_labels:
            columns["label"] = label or (None if folder else options.label)
        return read_texts(
            data,
            **columns,
            need_labels=need_labels,
            classes=self.classes if need_labels else None,
            label_separator=options.label_separator if need_labels else None,
            encoding=encoding or options.encoding,
        )

    def score(self, table: TextTable, *, split: str) -> ScoreTable:
        """Score rows that are read, also without those whose text training or validation has seen.

        Args:
            table: labelled rows with the classes of this model.
            split: what to call them. `"valid"` are the validation rows: only training rows count as seen
                there.
        """
        assert table.labels is not None
        naive, lstm = self._parts(table.texts)
        tfidf = full_log_odds(self.tfidf.log_odds(table.texts), len(self.classes))
        predictors = {
            "majority": np.tile(self.prior, (len(table.texts), 1)),
            "tfidf": probabilities(tfidf, multilabel=self.multilabel),
        }
        for name in self.mixtures:
            predictors[name] = self._mixed(name, naive, lstm)
        seen = [self.seen["train"]] if split == "valid" else list(self.seen.values())
        return ScoreTable.measure(
            predictors,
            targets_of(table.labels, self.classes),
            split=split,
            data_hash=data_hash(table.texts, table.labels),
            duplicated=np.isin(text_hashes(table.texts), np.concatenate(seen)),
            resamples=RESAMPLES if len(table.texts) <= MANY_ROWS else FEWER_RESAMPLES,
            positive=self.classes[1] if len(self.classes) == 2 and not self.multilabel else "",
        )

    def trace(self, text: str) -> TextTrace:
        """Read one text and keep every gate and state of every step.

        Raises:
            InputError: the model has no LSTM part, or `text` is not one string.
        """
        if self.network is None:
            raise InputError("this model was trained with parts.lstm=false: there are no gates to look at")
        if not isinstance(text, str):
            raise InputError(f"trace reads one text, got {type(text).__name__}")
        tokens = torch.from_numpy(self.tokeniser.encode([text])[0].astype(np.int64))[:, None]
        values = self.network.trace(tokens)
        names = self.tokeniser.tokens(text)[: len(tokens)] or ["(empty)"]
        return TextTrace(names, values, self.predict_proba([text])[0], self.classes)

    def _mixed(self, name: str, naive: Array, lstm: Array) -> Array:
        return probabilities(self.mixtures[name].apply(naive, lstm), multilabel=self.multilabel)

    def _parts(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Log odds `[N, K]` of the naive part and of the LSTM part; zeros for a part that is switched off."""
        nothing = np.zeros((len(texts), len(self.classes)))
        naive = (
            nothing if self.naive is None else full_log_odds(self.naive.log_odds(texts), len(self.classes))
        )
        lstm = nothing if self.network is None else log_odds(self.network, self.tokeniser.encode(texts))
        return naive, lstm


def mixture_names(naive: bool, lstm: bool) -> tuple[str, ...]:
    """The mixtures of a model with these parts: each part alone, and last what the model is."""
    return ("naive",) * naive + ("lstm",) * lstm + ("both",) * (naive and lstm)


def checked_texts(texts: Sequence[str]) -> list[str]:
    """`texts` as a list of strings.

    Raises:
        InputError: it is one string, or holds something else than strings.
    """
    if isinstance(texts, str):
        raise InputError("got one text; give a list of texts: [text]")
    listed = list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise InputError(f"text {index} is {type(text).__name__} ({text!r}); every text must be a string")
    return listed


def targets_of(labels: Sequence[Any], classes: Sequence[str]) -> NDArray[Any]:
    """Class indices `[N]` (int64) of class names, or `[N, K]` (bool) of tuples of class names."""
    index = {name: k for k, name in enumerate(classes)}
    if labels and isinstance(labels[0], tuple):
        targets = np.zeros((len(labels), len(classes)), bool)
        for row, names in enumerate(labels):
            targets[row, [index[name] for name in names]] = True
        return targets
    return np.array([index[name] for name in labels], np.int64)
