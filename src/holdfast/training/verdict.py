"""What a score table means in sentences: beats, does not beat, is worse; no more than the intervals say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

Outcome = Literal["beats", "does not beat", "is worse than"]

BASELINES = frozenset({"majority", "tfidf", "naive"})
"""Predictors that a user could have instead of the model; others are parts of it, shown for comparison."""

SMALLER_IS_BETTER = frozenset({"calibration_error"})

METRIC_NAMES = {
    "accuracy": "accuracy",
    "exact_match": "exact matches",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "f1": "F1",
    "auroc": "AUROC",
    "calibration_error": "calibration error",
    "macro_auroc": "macro AUROC",
}
"""What to call each metric, in the order of a table's columns."""


class Score(NamedTuple):
    """A value and its 95 % interval; the ends are None where no draw of the rows defined them."""

    value: float
    low: float | None = None
    high: float | None = None


def outcome(difference: Score, metric: str) -> Outcome:
    """What the difference, model minus other, allows to say; an interval with 0 in it allows neither."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "does not beat"
    better = (difference.low > 0) != (metric in SMALLER_IS_BETTER)
    return "beats" if better else "is worse than"


def sentences(model: str, differences: Mapping[str, Score], metric: str, rows: int) -> list[str]:
    """One sentence for each comparison, and one for all the baselines together.

    Args:
        model: the name of the model.
        differences: the model's score minus the other's, by the other's name.
        metric: which score it is.
        rows: how many rows were scored.
    """
    lines = [_comparison(model, other, score, metric) for other, score in differences.items()]
    outcomes = {other: outcome(score, metric) for other, score in differences.items() if other in BASELINES}
    worse = [other for other, found in outcomes.items() if found == "is worse than"]
    equal = [other for other, found in outcomes.items() if found == "does not beat"]
    named = METRIC_NAMES.get(metric, metric)
    if worse:
        verb = "has" if len(worse) == 1 else "have"
        lines.append(f"{model} is not worth using here: {_listed(worse)} {verb} the better {named}.")
    elif equal:
        verb = "is" if len(equal) == 1 else "are"
        lines.append(
            f"{model} does not beat all its baselines: on these {rows:,} rows its {named} "
            f"cannot be told from that of {_listed(equal)}, which {verb} simpler."
        )
    elif outcomes:
        lines.append(f"{model} beats every baseline here in {named}.")
    parts = [other for other in differences if other not in BASELINES]
    better = [part for part in parts if outcome(differences[part], metric) == "is worse than"]
    if better:
        lines.append(f"{model} is also worse than its own part {_listed(better)}, which is to be had alone.")
    return lines


def _comparison(model: str, other: str, difference: Score, metric: str) -> str:
    found = outcome(difference, metric)
    named = METRIC_NAMES.get(metric, metric)
    if difference.low is None or difference.high is None:
        return f"{model} does not beat {other}: these rows are too few for an interval of the {named}."
    sign = -1 if (found == "is worse than") != (metric in SMALLER_IS_BETTER) else 1
    ends = sorted((100 * sign * difference.low, 100 * sign * difference.high))
    value = f"{_number(100 * sign * difference.value)} points of {named}"
    interval = f"95 % interval {_number(ends[0])} to {_number(ends[1])}"
    if found == "does not beat":
        return f"{model} does not beat {other}: the difference of {value} ({interval}) includes 0."
    return f"{model} {found} {other} by {value} ({interval})."


def _number(points: float) -> str:
    """One decimal, or as many as show that a small number is not 0."""
    if points == 0:
        return "0.0"
    decimals = max(1, -math.floor(math.log10(abs(points))))
    return f"{points:.{min(decimals, 4)}f}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
