"""A table of scores for a person: as wide as the window, with the intervals beside or under the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from holdfast.training.scores import ScoreTable
    from holdfast.training.verdict import Score

GAP = 2
BESIDE = 17  # columns of "78.1 (76.9-79.3)"
UNDER = 11
SPLITS = {
    "test": "the test rows, which took no part in training",
    "valid": "the validation rows: optimistic",
    "given": "the rows of the file",
}
LEGEND = {
    "naive": "naive: the n-gram part alone",
    "lstm": "lstm: the network alone",
    "both": "both: the model, a mixture of the two",
}


def print_scores(console: Console, scores: ScoreTable) -> None:
    """Print the table, what it was measured on, and what it means.

    Args:
        console: where to.
        scores: of all predictors; the last one is the model.
    """
    metrics, beside = fitting(scores.metrics, max(map(len, scores.predictors)), console.width)
    console.print()
    console.print(f"Scores in %, with 95 % intervals, on {scores.rows:,} rows", style="bold")
    console.print(f"({SPLITS.get(scores.split, scores.split)})")
    console.print(_table(scores, metrics, "beside" if beside else "under"))
    console.print(f"({'; '.join(LEGEND[name] for name in scores.predictors if name in LEGEND)})")
    left = [_name(metric, scores) for metric in scores.metrics if metric not in metrics]
    if left:
        console.print(f"Not shown in this narrow window: {', '.join(left)}.")
    clean = scores.without_duplicates
    if clean is not None:
        console.print(f"The same on the {clean.rows:,} rows whose text the model has not seen:")
        console.print(_table(clean, metrics, "none"))
    for line in scores.verdict():
        console.print(line)


def fitting(metrics: list[str], name_width: int, width: int) -> tuple[list[str], bool]:
    """The metrics that fit, at least one, and whether their intervals fit beside the values."""
    room = width - name_width
    if len(metrics) * (BESIDE + GAP) <= room:
        return metrics, True
    return metrics[: max(1, room // (UNDER + GAP))], False


def _table(scores: ScoreTable, metrics: list[str], intervals: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for metric in metrics:
        table.add_column(
            _name(metric, scores), justify="right", max_width=BESIDE if intervals == "beside" else UNDER
        )
    for name, found in scores.predictors.items():
        cells = [Text(_cell(found.get(metric), intervals)) for metric in metrics]
        table.add_row(Text(name), *cells, style="bold" if name == scores.model else None)
    return table


def _cell(score: Score | None, intervals: str) -> str:
    if score is None:
        return ""
    value = f"{100 * score.value:.1f}"
    if intervals == "none" or score.low is None or score.high is None:
        return value
    interval = f"{100 * score.low:.1f}-{100 * score.high:.1f}"
    return f"{value} ({interval})" if intervals == "beside" else f"{value}\n{interval}"


def _name(metric: str, scores: ScoreTable) -> str:
    from holdfast.training.verdict import METRIC_NAMES

    name = METRIC_NAMES.get(metric, metric)
    return f"{name} of {scores.positive}" if metric == "f1" and scores.positive else name
