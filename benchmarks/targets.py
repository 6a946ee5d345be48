"""What speed must reach, beside what was measured: everything is computed from the CSV files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import targets_beyond
import targets_plain
from records import Records

TARGETS = (*targets_plain.TARGETS, *targets_beyond.TARGETS)


def table(records: Records) -> Iterator[str]:
    """All targets as Markdown."""
    yield "| what must hold | goal | measured | |"
    yield "|---|---|---|---|"
    for target in TARGETS:
        verdict = target.judge(records)
        if verdict is None:
            yield f"| {target.what} | {target.goal} | not measured{_not_timed(records, target.group)} | |"
            continue
        state = "holds" if verdict.missed <= 0 else f"**missed by {max(1, round(verdict.missed))} %**"
        measured = verdict.measured + _not_timed(records, target.group)
        yield f"| {target.what} | {target.goal} | {measured} | {state} |"


def _not_timed(records: Records, group: str) -> str:
    """Who is missing there because it failed or computed something else, and in how many cases."""
    counts = Counter(row["side"] for row in records.failed(group))
    return f"; not timed: {', '.join(f'{side} ({n})' for side, n in counts.items())}" if counts else ""
