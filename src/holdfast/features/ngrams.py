"""Linear scores over word n-grams: the naive part of a text classifier, and the TF-IDF baseline likewise.

The naive part counts word n-grams as present or not, weighs each by its naive Bayes log-count ratio, scales
each text to length 1 and fits a logistic regression: NBSVM of Wang & Manning 2012, *Baselines and Bigrams*,
with a logistic loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError, ModelFileError, require

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = NDArray[np.float32]
Decisions = NDArray[np.bool_]
Counting = Literal["present", "counts", "log counts"]

TOKEN_PATTERNS = {"words": r"(?u)\b\w+\b", "words and marks": r"(?u)[\w']+|[^\w\s]"}
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LONGEST = (2, 3)
MAX_LONGEST = 8
MOST_NGRAMS = 1_000_000


@dataclass(frozen=True)
class NgramScore:
    """A fitted linear score over n-grams: scale each n-gram, scale the text to length 1, weigh, add up.

    Attributes:
        ngrams: the n-grams seen in training, in the order of the columns, V of them.
        scale: what each n-gram counts before normalisation, `[K', V]`, or `[1, V]` for all scores alike.
        weight: the linear weights, `[K', V]`.
        bias: `[K']`. K' is 1 for two classes, else K.
        longest: words in the longest n-gram.
        tokens: a name out of `TOKEN_PATTERNS`.
        counting: whether an n-gram counts once, each time, or as 1 + log of its count.
        chosen: what validation chose, for the record.
    """

    ngrams: tuple[str, ...]
    scale: Array
    weight: Array
    bias: Array
    longest: int
    tokens: str = "words and marks"
    counting: Counting = "present"
    chosen: Mapping[str, Any] | None = None

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        decided: Decisions,
        valid_texts: Sequence[str],
        valid_decided: Decisions,
        *,
        min_count: int = 1,
    ) -> NgramScore:
        """Fit the naive Bayes weighted score; choose n-gram size and strength by the validation loss.

        Args:
            texts: N training texts.
            decided: `decisions` of their labels, `[N, K']`.
            valid_texts: M validation texts, used for choosing only.
            valid_decided: `decisions` of their labels, `[M, K']`.
            min_count: n-grams in fewer training texts are left out.

        Returns:
            The score with the lowest validation log loss.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        counter = _counter(
            "words and marks", max(LONGEST), "present", min_df=min_count, max_features=MOST_NGRAMS
        )
        try:
            counts = counter.fit_transform(texts)
        except ValueError:
            if min_count == 1:
                raise DataError("the n-gram score: none of the training texts has a word or a mark") from None
            return cls.fit(texts, decided, valid_texts, valid_decided, min_count=1)
        valid_counts = counter.transform(valid_texts)
        ngrams = counter.get_feature_names_out()
        words = np.array([ngram.count(" ") + 1 for ngram in ngrams])
        best, best_loss = None, np.inf
        for longest in LONGEST:
            kept = np.flatnonzero(words <= longest)
            ratio = np.stack([log_count_ratio(counts[:, kept], column) for column in decided.T])
            shell = cls(tuple(ngrams[kept]), ratio, ratio, np.zeros(len(ratio), np.float32), longest)
            rows, valid_rows = (
                list(shell._scaled(counts[:, kept])),
                list(shell._scaled(valid_counts[:, kept])),
            )
            before = np.inf
            for strength in STRENGTHS:
                score = _fit_logistic(shell, rows, decided, strength)
                loss = _decision_loss(score._linear(valid_rows), valid_decided)
                if loss < best_loss:
                    best_loss = loss
                    best = replace(score, chosen={"strength": strength, "valid_loss": loss})
                if loss > before:
                    break
                before = loss
        assert best is not None
        return best

    def log_odds(self, texts: Sequence[str]) -> Array:
        """The linear score of each text: log odds `[N, K']` (K' = 1: of the second class)."""
        if not len(texts):
            return np.zeros((0, len(self.bias)), np.float32)
        return self._linear(self._scaled(self._fitted_counter.transform(texts)))

    @cached_property
    def _fitted_counter(self) -> Any:
        return _counter(self.tokens, self.longest, self.counting, vocabulary=self.ngrams)

    def _scaled(self, counts: csr_matrix) -> Iterator[csr_matrix]:
        """The rows of `counts` `[N, V]` as each of the K' scores sees them: times its scale, of length 1."""
        if self.counting == "log counts":
            counts = counts.copy()
            counts.data = 1.0 + np.log(counts.data)
        if len(self.scale) == 1:
            yield from repeat(_unit_rows(counts, self.scale[0]), len(self.bias))
        else:
            yield from (_unit_rows(counts, scale) for scale in self.scale)

    def _linear(self, scaled: Iterable[csr_matrix]) -> Array:
        scores = [
            rows @ weight + bias for rows, weight, bias in zip(scaled, self.weight, self.bias, strict=True)
        ]
        return np.stack(scores, axis=1).astype(np.float32)

    def arrays(self, prefix: str) -> dict[str, Array]:
        """The arrays to save, named `prefix.scale`, `prefix.weight`, `prefix.bias`."""
        return {f"{prefix}.{name}": getattr(self, name) for name in ("scale", "weight", "bias")}

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values that JSON can hold."""
        return {
            "ngrams": list(self.ngrams),
            "longest": self.longest,
            "tokens": self.tokens,
            "counting": self.counting,
            "chosen": dict(self.chosen or {}),
        }

    @classmethod
    def from_saved(cls, facts: Any, arrays: Mapping[str, NDArray[Any]], prefix: str) -> NgramScore:
        """The score that `facts` and `arrays` saved.

        Raises:
            ModelFileError: a field or an array is missing, or they do not fit together.
        """
        try:
            scale, weight, bias = (arrays[f"{prefix}.{name}"] for name in ("scale", "weight", "bias"))
            score = cls(
                ngrams=tuple(facts["ngrams"]),
                scale=scale,
                weight=weight,
                bias=bias,
                longest=facts["longest"],
                tokens=facts["tokens"],
                counting=facts["counting"],
                chosen=dict(facts["chosen"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"the saved n-gram score {prefix!r} is damaged ({error!r}); train again"
            ) from None
        if not (score._has_values() and score._fits_together()):
            raise ModelFileError(
                f"the saved n-gram score {prefix!r} does not fit together: {len(score.ngrams)} n-grams "
                f"of up to {score.longest!r:.20} {score.tokens!r:.20}, {score.counting!r:.20}, "
                f"scale {scale.dtype} {scale.shape}, weight {weight.dtype} {weight.shape}, "
                f"bias {bias.dtype} {bias.shape}; train again"
            )
        return score

    def _has_values(self) -> bool:
        """Whether each field is of its type and in its range."""
        return (
            all(isinstance(ngram, str) for ngram in self.ngrams)
            and type(self.longest) is int
            and 1 <= self.longest <= MAX_LONGEST
            and self.tokens in list(TOKEN_PATTERNS)
            and self.counting in get_args(Counting)
            and all(array.dtype == np.float32 for array in (self.scale, self.weight, self.bias))
        )

    def _fits_together(self) -> bool:
        """Whether there is one scale, weight and bias for each n-gram and decision."""
        shape = (self.bias.size, len(self.ngrams))
        return (
            self.bias.ndim == 1
            and min(shape) > 0
            and self.weight.shape == shape
            and self.scale.shape in (shape, (1, shape[1]))
            and len(set(self.ngrams)) == len(self.ngrams)
        )


def decisions(targets: NDArray[Any], classes: int) -> Decisions:
    """The yes/no decisions `[N, K']` behind the labels of N texts.

    Args:
        targets: class indices `[N]` (int), or `[N, K]` (bool) where a text may have several labels.
        classes: the number of classes, K.

    Returns:
        One column (is it the second class?) for two classes, else one column per class.
    """
    if targets.ndim == 2:
        return np.asarray(targets, bool)
    if classes == 2:
        return np.asarray(targets == 1)[:, None]
    return np.asarray(targets[:, None] == np.arange(classes), bool)


def log_count_ratio(counts: csr_matrix, positive: NDArray[np.bool_]) -> Array:
    """The naive Bayes log-count ratio of each column of `counts` `[N, V]`, with one added to each count.

    r = log(p / |p|) - log(q / |q|), p = 1 + the column sums over the positive rows, q over the rest.
    """
    p = 1.0 + np.asarray(counts[positive].sum(0)).ravel()
    q = 1.0 + np.asarray(counts[~positive].sum(0)).ravel()
    return np.asarray(np.log(p / p.sum()) - np.log(q / q.sum()), np.float32)


def _fit_logistic(
    shell: NgramScore, scaled: list[csr_matrix], decided: Decisions, strength: float
) -> NgramScore:
    """`shell` with the weights of one logistic regression per decision; one without choice is a constant."""
    logistic = require("sklearn.linear_model", "train", "the n-gram score").LogisticRegression
    weight, bias = np.zeros_like(shell.scale), np.zeros(len(shell.scale), np.float32)
    for k, (rows, column) in enumerate(zip(scaled, decided.T, strict=True)):
        if column.all() or not column.any():
            bias[k] = np.log((column.sum() + 0.5) / ((~column).sum() + 0.5))
            continue
        model = logistic(C=strength, max_iter=1000)
        model.fit(rows, column)
        weight[k], bias[k] = model.coef_[0], model.intercept_[0]
    return replace(shell, weight=weight, bias=bias)


def _decision_loss(log_odds: Array, decided: Decisions) -> float:
    odds = log_odds.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, np.where(decided, -odds, odds))))


def _counter(tokens: str, longest: int, counting: str, **options: Any) -> Any:
    text = require("sklearn.feature_extraction.text", "train", "the n-gram score")
    return text.CountVectorizer(
        token_pattern=TOKEN_PATTERNS[tokens],
        ngram_range=(1, longest),
        binary=counting == "present",
        dtype=np.float32,
        **options,
    )


def _unit_rows(counts: csr_matrix, scale: Array) -> csr_matrix:
    """Rows of counts times scale, scaled to length 1."""
    normalize = require("sklearn.preprocessing", "train", "the n-gram score").normalize
    return normalize(counts.multiply(scale).tocsr())
