"""What came of an experiment beside what the paper says: rows for a terminal, for a page, and a verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment
from holdfast.lab.results import Results, Summary

AGREES, DIFFERS, PARTLY = "agrees", "disagrees", "agrees in part"
_NUMBER_FIRST = re.compile(r"^(-?[\d.,]+)(.*)$")


@dataclass(frozen=True)
class Row:
    """One arm of one case.

    Attributes:
        case: its name.
        paper: what the paper reports for the case.
        arm: its name.
        solved: such as `"3 of 3"`.
        consumed: such as `"30,112 (29,808 to 37,152)"`; `"over 60,000"` where no run was solved.
        scores: the final tests of all seeds: `"1, 2, 2 of 2560 wrong"`.
        weights: how many numbers the network learns.
        verdict: how that compares with the paper: "" where the paper says nothing.
    """

    case: str
    paper: str
    arm: str
    solved: str
    consumed: str
    scores: str
    weights: str
    verdict: str


def rows(experiment: Experiment, results: Results) -> list[Row]:
    """The table of an experiment: every arm of every case that was run."""
    return [
        _row(case, arm, summary)
        for case in (*experiment.cases, *experiment.quick)
        for arm in case.arms
        if (summary := results.summary(case.name, arm.name)) is not None
    ]


def verdict(case: Case, arm: Arm, summary: Summary) -> str:
    """How the runs of an arm compare with what the paper says of it.

    Where it solves: every seed must be solved, and the median must be at most what the paper's network
    consumed. Where it fails: no seed may be solved.
    """
    if arm.expected == SOLVES:
        if summary.solved == 0:
            return DIFFERS
        slower = case.paper_sequences is not None and summary.sequences[0] > case.paper_sequences
        return AGREES if summary.solved == summary.runs and not slower else PARTLY
    if arm.expected == FAILS:
        return AGREES if summary.solved == 0 else DIFFERS if summary.solved == summary.runs else PARTLY
    return ""


def joined(scores: tuple[str, ...]) -> str:
    """`("1 of 2560 wrong", "3 of 2560 wrong")` as `"1, 3 of 2560 wrong"`; others as they are, each once."""
    found = [_NUMBER_FIRST.match(score) for score in scores]
    endings = {match[2] for match in found if match}
    if all(found) and len(endings) == 1:
        return ", ".join(match[1] for match in found if match) + endings.pop()
    return "; ".join(dict.fromkeys(scores))


def _row(case: Case, arm: Arm, summary: Summary) -> Row:
    middle, least, most = summary.sequences
    consumed = f"{middle:,.0f}" + (f" ({least:,} to {most:,})" if least != most else "")
    return Row(
        case.name,
        case.paper,
        arm.name,
        f"{summary.solved} of {summary.runs}",
        consumed if summary.solved else f"over {most:,}",
        joined(summary.scores),
        f"{summary.weights:,}",
        verdict(case, arm, summary),
    )
