"""Writes the tables in benchmarks/README.md and draws the picture from the CSV files of a full run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import peers
from records import Records, threads_of
from targets import shape_of, shares, table, value_of, variant_ratios
from verify import ROOT

README = ROOT / "benchmarks" / "README.md"
PICTURE = ROOT / "docs" / "speed.png"
BEGIN, END = "<!-- written by report.py -->", "<!-- end -->"


def publish(records: Records, readme: Path = README, picture: Path = PICTURE) -> None:
    """Replace the part of the README between the two marks, and draw the picture."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = "\n".join([BEGIN, "", *report(records), "", END])
    readme.write_text(before + written + after, encoding="utf-8")
    if records.rows("training"):
        from picture import draw

        draw(records, picture)


def report(records: Records) -> Iterator[str]:
    """The targets, then the medians of each group, as Markdown."""
    yield from table(records)
    yield ""
    yield from machine(records)
    for group, unit in (
        ("training", "ms"),
        ("forward", "ms"),
        ("step", "us"),
        ("lengths", "ms"),
        ("memory", "MB"),
        ("words", "ms"),
    ):
        if records.rows(group):
            yield ""
            yield from medians(records, group, unit)
    for part in (variants, share_of_product):
        yield ""
        yield from part(records)


def machine(records: Records) -> Iterator[str]:
    """What it was measured on, and with which versions."""
    rows = [row for path in sorted(records.folder.glob("*.csv")) for row in records.rows(path.stem)]
    own = [row for row in rows if row["version"] and not row["side"].endswith("published")]
    if own:
        versions = sorted(
            {f"{row['side']} {row['version']}" for row in own if row["version"] != row["holdfast"]}
        )
        where = sorted({threads_of(row) for row in own})
        commits = sorted({row.get("commit") or "unknown" for row in own})
        parts = [f"Commit {', '.join(commits)}", *where, "float32", max(row["date"] for row in own)]
        yield f"{'; '.join([*parts, ', '.join(versions)])}."


def medians(records: Records, group: str, unit: str) -> Iterator[str]:
    """One line a side, one column a case; the smallest number of each column is bold, who failed is named."""
    scale = 1000 if unit == "us" else 1
    columns: dict[str, dict[str, float]] = {}
    for row in [*records.rows(group), *records.failed(group)]:
        name = row["case"].removeprefix(f"{group} ") if group in {"lengths", "words"} else str(shape_of(row))
        value = scale * float(row["value"]) if row["value"] else math.inf
        column = columns.setdefault(name, {})
        if row["side"] not in column or row["value"]:
            column[row["side"]] = value
    sides = dict.fromkeys(side for column in columns.values() for side in column)
    yield f"| {group}, {unit} | {' | '.join(columns)} |"
    yield "|---|" + "---:|" * len(columns)
    for side in sides:
        yield f"| {side} | {' | '.join(_cell(column, side) for column in columns.values())} |"


def variants(records: Records) -> Iterator[str]:
    """Each variant's time, and that of our plain cell and of the loops."""
    rows = records.rows("variants")
    sides = [peers.LOOP.name, peers.COMPILED_LOOP.name]
    if rows:
        heads = ["training, ms", "ours", "our plain cell", "over plain", *sides, "best loop over ours"]
        yield f"| {' | '.join(heads)} |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
    for case, over_plain, over_loop in variant_ratios(records):
        own = [row for row in rows if row["case"] == case]
        plain = next(row for row in own if row["variant"] == "plain")
        loops = [f"{value_of(own, side):.3g}".replace("inf", "") for side in sides]
        mine, beside = float(own[0]["value"]), float(plain["value"])
        cells = [case, f"{mine:.3g}", f"{beside:.3g}", f"{over_plain:.2f}", *loops, f"{over_loop:.1f}"]
        yield f"| {' | '.join(cells)} |"


def share_of_product(records: Records) -> Iterator[str]:
    """GFLOP/s of ours as a share of the fastest product, by shape."""
    training, forward = (
        {item.shape: f"{100 * item.ratio:.0f} %" for item in shares(records, work)}
        for work in ("training", "forward")
    )
    if training:
        yield "| share of the fastest product | training | forward |"
        yield "|---|---:|---:|"
    for shape, share in training.items():
        yield f"| {shape} | {share} | {forward.get(shape, '')} |"


def _cell(column: dict[str, float], side: str) -> str:
    if side not in column:
        return ""
    if math.isinf(column[side]):
        return "failed"
    text = f"{column[side]:.3g}" if column[side] < 100 else f"{column[side]:.0f}"
    return f"**{text}**" if column[side] == min(column.values()) else text


if __name__ == "__main__":
    publish(Records(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "benchmarks" / "results" / "full"))
