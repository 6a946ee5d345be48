"""The score table: every predictor on the same rows, with intervals, differences and a plain verdict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import ModelFileError
from holdfast.training.metrics import (
    Metric,
    bounds,
    classification_scores,
    differences,
    multilabel_scores,
    resampled_together,
)
from holdfast.training.verdict import METRIC_NAMES, Score, sentences

Array = NDArray[Any]

FEW_ROWS = 30
_RESERVED = frozenset(
    {
        "split",
        "rows",
        "model",
        "data_hash",
        "duplicates",
        "positive",
        "baselines",
        "predictors",
        "differences",
        "bootstrap",
    }
    | {"without_duplicates"}
)


@dataclass(frozen=True)
class ScoreTable:
    """Scores of several predictors on the same rows of one split.

    Attributes:
        predictors: for each predictor its scores by metric; the last one is the model, the others are
            what it is compared with.
        differences: for each other predictor and metric, the model's score minus its, from the same draws.
        rows: how many rows were scored.
        split: which rows they are: `"test"`, `"valid"`.
        data_hash: of the scored texts and labels, see `data_hash`.
        resamples: how many draws the intervals come from.
        seed: of those draws.
        duplicates: how many rows have a text that the model has seen in training or validation.
        positive: the class whose F1 is `f1`, of two classes; else empty.
        without_duplicates: the same table over the rows whose text the model has not seen, where some are.
    """

    predictors: dict[str, dict[str, Score]]
    differences: dict[str, dict[str, Score]]
    rows: int
    split: str = "test"
    data_hash: str = ""
    resamples: int = 1000
    seed: int = 0
    duplicates: int = 0
    positive: str = ""
    without_duplicates: ScoreTable | None = None

    def __post_init__(self) -> None:
        if not self.predictors:
            raise ValueError("a score table needs at least one predictor")
        if self.split in _RESERVED or not self.split.isidentifier():
            raise ValueError(f"a split cannot be called {self.split!r}")

    @classmethod
    def measure(
        cls,
        probabilities: Mapping[str, Array],
        targets: Array,
        *,
        split: str = "test",
        data_hash: str = "",
        duplicated: Array | None = None,
        resamples: int = 1000,
        seed: int = 0,
        positive: str = "",
    ) -> ScoreTable:
        """Score every predictor on the same rows and the same bootstrap draws.

        Args:
            probabilities: for each predictor `[N, K]`; the last one is the model.
            targets: `[N]` class indices, or `[N, K]` booleans for several labels per row.
            split: what the rows are.
            data_hash: of the rows.
            duplicated: `[N]`, whether the model has seen each row's text; a second table without these rows
                is added where there are some, and others are left.
            resamples: how many draws.
            seed: of the draws.
            positive: the class whose F1 is `f1`.

        Raises:
            ValueError: the shapes do not fit.
        """
        metric: Metric = classification_scores if np.ndim(targets) == 1 else multilabel_scores
        values = {name: metric(array, targets) for name, array in probabilities.items()}
        draws = resampled_together(metric, probabilities, targets, resamples=resamples, seed=seed)
        model = list(values)[-1]
        compared = {
            name: _scores(differences(values[model], values[name], draws[model], draws[name]))
            for name in values
            if name != model
        }
        second = None
        if duplicated is not None and 0 < np.count_nonzero(duplicated) < len(targets):
            kept = ~np.asarray(duplicated, dtype=bool)
            second = cls.measure(
                {name: array[kept] for name, array in probabilities.items()},
                np.asarray(targets)[kept],
                split=split,
                resamples=resamples,
                seed=seed,
                positive=positive,
            )
        return cls(
            predictors={name: _with_intervals(values[name], draws[name]) for name in values},
            differences=compared,
            rows=len(targets),
            split=split,
            data_hash=data_hash,
            resamples=resamples,
            seed=seed,
            duplicates=0 if duplicated is None else int(np.count_nonzero(duplicated)),
            positive=positive,
            without_duplicates=second,
        )

    @property
    def model(self) -> str:
        """The name of the predictor that is compared with the others: the last."""
        return list(self.predictors)[-1]

    @property
    def metrics(self) -> list[str]:
        """The metrics that any predictor has, in the order of a table's columns."""
        present = {metric for scores in self.predictors.values() for metric in scores}
        return [name for name in METRIC_NAMES if name in present] + sorted(present - set(METRIC_NAMES))

    def as_dict(self) -> dict[str, Any]:
        """The content of metrics.json; `from_dict` reads it back."""
        result: dict[str, Any] = {
            "split": self.split,
            "rows": self.rows,
            "model": self.model,
            "data_hash": self.data_hash,
            "duplicates": self.duplicates,
            "positive": self.positive,
            "bootstrap": {"resamples": self.resamples, "seed": self.seed},
            self.split: _as_json(self.predictors[self.model]),
            "baselines": {
                name: {metric: score.value for metric, score in scores.items()}
                for name, scores in self.predictors.items()
                if name != self.model
            },
            "predictors": [{"name": n, "scores": _as_json(s)} for n, s in self.predictors.items()],
            "differences": {name: _as_json(scores) for name, scores in self.differences.items()},
        }
        if self.without_duplicates is not None:
            result["without_duplicates"] = self.without_duplicates.as_dict()
        return result

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ScoreTable:
        """Read what `as_dict` wrote.

        Raises:
            ModelFileError: `value` is something else.
        """
        try:
            second = value.get("without_duplicates")
            return cls(
                predictors={str(row["name"]): _scores(row["scores"]) for row in value["predictors"]},
                differences={str(name): _scores(scores) for name, scores in value["differences"].items()},
                rows=int(value["rows"]),
                split=str(value["split"]),
                data_hash=str(value["data_hash"]),
                resamples=int(value["bootstrap"]["resamples"]),
                seed=int(value["bootstrap"]["seed"]),
                duplicates=int(value["duplicates"]),
                positive=str(value["positive"]),
                without_duplicates=None if second is None else cls.from_dict(second),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelFileError(
                f"metrics.json is not a table of scores ({type(error).__name__}: {error}): "
                "evaluate the model again to write it anew"
            ) from None

    def verdict(self, metric: str | None = None) -> list[str]:
        """Say for each other predictor whether the model beats it, and in the end whether it is worth having.

        Args:
            metric: which one decides; by default the first column.

        Returns:
            Sentences for a person. "Beats" and "is worse" need a 95 % interval of the difference without 0.
        """
        metric = metric or self.metrics[0]
        compared = {name: scores[metric] for name, scores in self.differences.items() if metric in scores}
        lines = sentences("the model", compared, metric, self.rows)
        return lines + self._cautions(metric)

    def _cautions(self, metric: str) -> list[str]:
        """What makes these scores too good, if anything does."""
        lines = []
        if self.split == "valid":
            lines.append(
                "These are the validation rows, which chose the epoch, the n-grams and the mixture: "
                "on other rows expect lower scores."
            )
        if self.rows < FEW_ROWS:
            lines.append(f"Only {self.rows} rows were scored: these numbers say little.")
        if self.duplicates == self.rows:
            lines.append(
                "The model has seen the text of every one of these rows: the scores say nothing of new texts."
            )
        clean = self.without_duplicates
        if clean is not None and metric in clean.predictors[self.model]:
            lines.append(
                f"Of these rows the model has seen the text of {self.duplicates:,}; on the others its "
                f"{METRIC_NAMES.get(metric, metric)} is "
                f"{100 * clean.predictors[self.model][metric].value:.1f} % instead of "
                f"{100 * self.predictors[self.model][metric].value:.1f} %."
            )
        return lines


def data_hash(texts: Iterable[str], labels: Sequence[object] | None = None) -> str:
    """SHA-256 over texts and labels in their order, with lengths, so that no two data sets share it.

    Args:
        texts: the texts.
        labels: one per text, or None.

    Returns:
        `"sha256:"` and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for index, text in enumerate(texts):
        parts = [text] if labels is None else [text, repr(labels[index])]
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return f"sha256:{digest.hexdigest()}"


def _with_intervals(values: Mapping[str, float], draws: Mapping[str, Array]) -> dict[str, Score]:
    return {name: Score(value, *bounds(draws[name])) for name, value in values.items()}


def _as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: {"value": s.value, "ci95": [s.low, s.high]} for name, s in scores.items()}


def _scores(value: Mapping[str, Any]) -> dict[str, Score]:
    return {str(name): _score(entry) for name, entry in value.items()}


def _score(entry: Mapping[str, Any]) -> Score:
    low, high = entry["ci95"]
    numbers = [None if end is None else float(end) for end in (entry["value"], low, high)]
    if numbers[0] is None or not all(end is None or math.isfinite(end) for end in numbers):
        raise ValueError("a score is not a finite number")
    return Score(numbers[0], numbers[1], numbers[2])
