"""Writes the tables in benchmarks/README.md and draws the picture from the CSV files of a full run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import ours
import peers
from groups import tracing
from groups.ragged import ON_ONE, ON_TWO, steps_of
from problem import Side
from records import Records, Row, threads_of
from targets import table
from targets_plain import shares
from verdicts import PLAIN_LAYER, compared_variants, shape_of, value_of
from verify import ROOT

README = ROOT / "benchmarks" / "README.md"
PICTURE = ROOT / "docs" / "speed.png"
# Groups of which several cases have the same shape.
_BY_CASE = {"lengths", "words", "own_cell", "extremes"}
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
        ("own_cell", "ms"),
        ("extremes", "ms"),
    ):
        if records.rows(group):
            yield ""
            yield from medians(records, group, unit)
    for part in (variants, staged, recomputed, traced, in_bfloat16, ragged, share_of_product):
        lines = list(part(records))
        if lines:
            yield from ["", *lines]


def machine(records: Records) -> Iterator[str]:
    """What it was measured on, and with which versions."""
    rows = [row for path in sorted(records.folder.glob("*.csv")) for row in records.rows(path.stem)]
    own = [row for row in rows if row["version"] and not row["side"].endswith("published")]
    if own:
        versions = sorted(
            {f"{row['side']} {row['version']}" for row in own if row["version"] != row["holdfast"]}
        )
        most: dict[str, Row] = {}  # some sides run on fewer threads than the run has
        for row in own:
            other = most.setdefault(row["processor"], row)
            most[row["processor"]] = max(other, row, key=lambda row: int(row["threads"]))
        where = sorted(map(threads_of, most.values()))
        commits = sorted({row.get("commit") or "unknown" for row in own})
        parts = [f"Commit {', '.join(commits)}", *where, "float32", max(row["date"] for row in own)]
        yield f"{'; '.join([*parts, ', '.join(versions)])}."


def medians(records: Records, group: str, unit: str) -> Iterator[str]:
    """One line a side, one column a case; the smallest number of each column is bold, who failed is named."""
    scale = 1000 if unit == "us" else 1
    columns: dict[str, dict[str, float]] = {}
    for row in [*records.rows(group), *records.failed(group)]:
        name = row["case"].removeprefix(f"{group} ") if group in _BY_CASE else str(shape_of(row))
        value = scale * float(row["value"]) if row["value"] else math.inf
        column = columns.setdefault(name, {})
        if row["side"] not in column or row["value"]:
            column[row["side"]] = value
    sides = dict.fromkeys(side for column in columns.values() for side in column)
    yield from _head(f"{group}, {unit}", *columns)
    for side in sides:
        yield f"| {side} | {' | '.join(_cell(column, side) for column in columns.values())} |"


def variants(records: Records) -> Iterator[str]:
    """Each variant's time, and that of our plain cell and of the loops."""
    return _beside_plain(records, "variants", (peers.LOOP, peers.COMPILED_LOOP))


def staged(records: Records) -> Iterator[str]:
    """The same of the cells with sums or products within a step."""
    sides = (peers.LOOP, peers.COMPILED_STEPS, peers.COMPILED_LOOP, peers.TORCH)
    return _beside_plain(records, "staged", sides)


def _beside_plain(records: Records, group: str, sides: tuple[Side, ...]) -> Iterator[str]:
    compared = list(compared_variants(records, group))
    if compared:
        names = [side.name for side in sides]
        heads = ["ours", "our plain cell", "over plain", *names, "best of these over ours"]
        yield from _head("training, ms", *heads)
    cases = dict(records.cases(group))
    for case, _, over_plain, best_loop in compared:
        rows = cases[case]
        own = [row for row in rows if row["variant"] != "plain"]
        plain = value_of([row for row in rows if row["variant"] == "plain"], PLAIN_LAYER)
        mine = [_number(value_of(own, PLAIN_LAYER)), _number(plain), f"{over_plain:.2f}"]
        others = [_number(value_of(own, side.name)) for side in sides]
        best = f"{best_loop:.1f}" if math.isfinite(best_loop) else ""
        yield _line(case, *mine, *others, best)


def recomputed(records: Records) -> Iterator[str]:
    """What `recompute=True` costs and spares."""
    cases = list(records.cases("recompute"))
    if cases:
        yield from _head("long sequences", "all values kept", "recompute=True", "ratio")
    for case, rows in cases:
        kept, spared = (value_of(rows, side.name) for side in (ours.LAYER, ours.RECOMPUTED))
        named = f"{case}, {rows[0]['unit']}"
        yield _line(named, _number(kept), _number(spared), _ratio(spared, kept))


def traced(records: Records) -> Iterator[str]:
    """What looking inside costs."""
    cases = list(records.cases("tracing"))
    if cases:
        yield from _head("tracing, ms", "without", "return_trace=True", "ratio", '"gradients"', "ratio")
    for case, rows in cases:
        sides = tracing.OWN_SIDES if rows[0]["side"] == tracing.OWN_SIDES[0].name else tracing.SIDES
        without, *others = (value_of(rows, side.name) for side in sides)
        cells = [part for value in others for part in (_number(value), _ratio(value, without))]
        yield _line(case, _number(without), *cells)


def in_bfloat16(records: Records) -> Iterator[str]:
    """Float32 and bfloat16, ours and PyTorch's."""
    cases = list(records.cases("bfloat16"))
    sides = (ours.LAYER, ours.BFLOAT16, peers.TORCH, peers.BFLOAT16)
    if cases:
        yield from _head("ms", *(side.name for side in sides), "ours, faster", "PyTorch's, faster")
    for case, rows in cases:
        values = [value_of(rows, side.name) for side in sides]
        ratios = [_ratio(values[0], values[1]), _ratio(values[2], values[3])]
        yield _line(case, *map(_number, values), *ratios)


def ragged(records: Records) -> Iterator[str]:
    """Documents: what the second thread gives, and how many valid steps are trained in a second."""
    cases = list(records.cases("ragged"))
    if cases:
        heads = ("1 thread", "2 threads", "second thread", "steps a second", "valid steps of a batch")
        yield from _head("training, documents, ms", *heads)
    for case, rows in cases:
        one, two = (value_of(rows, side) for side in (ON_ONE, ON_TWO))
        valid, padded = steps_of(rows[0])
        speed = f"{1000 * valid / min(one, two):,.0f}"
        share = f"{100 * valid / padded:.0f} %"
        yield _line(case, _number(one), _number(two), _ratio(one, two), speed, share)


def share_of_product(records: Records) -> Iterator[str]:
    """GFLOP/s of ours as a share of the fastest product, by shape."""
    training, forward = (
        {item.shape: f"{100 * item.ratio:.0f} %" for item in shares(records, work)}
        for work in ("training", "forward")
    )
    if training:
        yield from _head("share of the fastest product", "training", "forward")
    for shape, share in training.items():
        yield f"| {shape} | {share} | {forward.get(shape, '')} |"


def _head(first: str, *others: str) -> Iterator[str]:
    yield _line(first, *others)
    yield "|---|" + "---:|" * len(others)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Empty for what was not measured."""
    return "" if math.isinf(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.2f}" if math.isfinite(above) and math.isfinite(below) else ""


def _cell(column: dict[str, float], side: str) -> str:
    if side not in column:
        return ""
    if math.isinf(column[side]):
        return "failed"
    text = _number(column[side])
    return f"**{text}**" if column[side] == min(column.values()) else text


if __name__ == "__main__":
    publish(Records(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "benchmarks" / "results" / "full"))
