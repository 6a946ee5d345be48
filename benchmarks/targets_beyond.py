"""The targets beyond the plain cell in float32, and those against other frameworks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import ours
import peers
from groups.own_cell import OWN_CELL
from groups.recompute import LONG_PEAK, SAVED, TIME
from groups.words import BY_COLUMNS, EMBEDDED
from problem import Side
from records import Records, Row
from verdicts import (
    PLAIN_LAYER,
    Speedup,
    Target,
    Verdict,
    compared_variants,
    excess,
    geometric_mean,
    lowest,
    shape_of,
    shortfall,
    value_of,
)

GIGABYTE = 1000.0  # in megabytes
LOOPS = (peers.LOOP, peers.COMPILED_STEPS, peers.COMPILED_LOOP)


def _ratios(cases: Iterable[list[Row]], above: Iterable[str], below: str) -> Iterator[Speedup]:
    """Of each case the least of those sides over that one, where both were measured."""
    for rows in cases:
        ratio = min(value_of(rows, side) for side in above) / value_of(rows, below)
        if 0 < ratio < math.inf:
            yield Speedup(ratio, shape_of(rows[0]))


def _cases(records: Records, group: str, beginning: str = "") -> list[list[Row]]:
    return [rows for case, rows in records.cases(group) if case.startswith(beginning)]


def _at_least(goal: float, found: list[Speedup], *, mean_counts: bool = False) -> Verdict | None:
    """The lowest must reach the goal, or the geometric mean."""
    if not found:
        return None
    mean = geometric_mean(item.ratio for item in found)
    reached = mean if mean_counts else min(found).ratio
    return Verdict(f"{mean:.2f}x, {lowest(found)}", shortfall((reached, goal)))


def _at_most(goal: float, found: list[Speedup]) -> Verdict | None:
    if not found:
        return None
    mean, worst = geometric_mean(item.ratio for item in found), max(found)
    return Verdict(f"{mean:.2f}x, highest {worst.ratio:.2f}x at {worst.shape}", excess(worst.ratio, goal))


def _over_plain(variant: str, goal: float, records: Records) -> Verdict | None:
    compared = [item for item in compared_variants(records, "staged") if item.variant == variant]
    shapes = {case: shape_of(rows[0]) for case, rows in records.cases("staged")}
    return _at_most(goal, [Speedup(item.over_plain, shapes[item.case]) for item in compared])


def _layer_norm_against_loops(records: Records) -> Verdict | None:
    """Each kind of loop on its own, since not all are compiled everywhere."""
    cases = [rows for rows in _cases(records, "staged") if "layer norm" in {row["variant"] for row in rows}]
    found = {side.name: list(_ratios(cases, [side.name], PLAIN_LAYER)) for side in LOOPS}
    least = {name: min(ratios) for name, ratios in found.items() if ratios}
    if not least:
        return None
    listed = "; ".join(f"{name}: at least {item.ratio:.2f}x, {item.shape}" for name, item in least.items())
    return Verdict(listed, shortfall(*((item.ratio, 3.0) for item in least.values())))


def _recomputed(beginning: str, goal: float, records: Records) -> Verdict | None:
    cases = _cases(records, "recompute", beginning)
    return _at_most(goal, list(_ratios(cases, [ours.RECOMPUTED.name], PLAIN_LAYER)))


def _long(records: Records) -> Verdict | None:
    values = [
        (value_of(rows, ours.RECOMPUTED.name), value_of(rows, PLAIN_LAYER))
        for rows in _cases(records, "recompute", LONG_PEAK)
    ]
    if not values or math.isinf(values[0][0]):
        return None
    spared, kept = values[0]
    beside = f" ({kept:.0f} MB without)" if math.isfinite(kept) else ""
    return Verdict(f"{spared:.0f} MB{beside}", excess(spared, GIGABYTE))


def _bfloat16(work: str, records: Records) -> Verdict | None:
    found = _ratios(_cases(records, "bfloat16", work), [PLAIN_LAYER], ours.BFLOAT16.name)
    return _at_least(1.4, [item for item in found if item.shape.B >= 32 and item.shape.H >= 256])


def _own_cell(records: Records) -> Verdict | None:
    """Within 5 %, case by case: neither slower nor faster."""
    found = [
        (value_of(rows, OWN_CELL.name) / value_of(rows, PLAIN_LAYER), case)
        for case, rows in records.cases("own_cell")
    ]
    found = [(ratio, case) for ratio, case in found if 0 < ratio < math.inf]
    if not found:
        return None
    mean = geometric_mean(ratio for ratio, _ in found)
    worst, where = max(found, key=lambda item: abs(item[0] - 1))
    return Verdict(f"{mean:.2f}x, furthest {worst:.2f}x, {where}", 100 * (abs(worst - 1) - 0.05))


def _against(sides: tuple[Side, ...], records: Records) -> Verdict | None:
    names = [side.name for side in sides]
    return _at_least(2.5, list(_ratios(_cases(records, "training"), names, PLAIN_LAYER)), mean_counts=True)


def _words(records: Records) -> Verdict | None:
    found = [
        (value_of(rows, EMBEDDED.name) / value_of(rows, BY_COLUMNS.name), case)
        for case, rows in records.cases("words")
    ]
    if not found:
        return None
    least, where = min(found)
    mean = geometric_mean(ratio for ratio, _ in found)
    return Verdict(f"{mean:.2f}x, lowest {least:.2f}x, {where}", shortfall((least, 1.5)))


TARGETS = (
    Target(
        "staged",
        "training with layer norm over our plain cell",
        "at most 1.6x",
        partial(_over_plain, "layer norm", 1.6),
    ),
    Target(
        "staged",
        "training with a projection to H/2 over our plain cell",
        "at most 1.2x",
        partial(_over_plain, "projection", 1.2),
    ),
    Target(
        "staged",
        "training with layer norm against the best loop in torch, as it stands and compiled",
        "3x",
        _layer_norm_against_loops,
    ),
    Target(
        "recompute",
        "recompute=True, T = 10,000: memory saved for backward, over keeping all",
        "at most 0.1x",
        partial(_recomputed, SAVED, 0.1),
    ),
    Target(
        "recompute",
        "recompute=True, T = 10,000: training time, over keeping all",
        "at most 1.45x",
        partial(_recomputed, TIME, 1.45),
    ),
    Target(
        "recompute",
        "recompute=True, T = 100,000, B = 1, H = 128, 3 layers both ways: peak of the process",
        "under 1 GB",
        _long,
    ),
    Target(
        "bfloat16",
        "bfloat16 against our float32, training, B >= 32, H >= 256",
        "1.4x",
        partial(_bfloat16, "training"),
    ),
    Target(
        "bfloat16",
        "bfloat16 against our float32, forward, B >= 32, H >= 256",
        "1.4x",
        partial(_bfloat16, "forward"),
    ),
    Target(
        "own_cell",
        "a user's copy of peephole over the built-in one, training and forward",
        "1.0x +- 5 %",
        _own_cell,
    ),
    Target(
        "training",
        "training against Keras on TensorFlow, the better of plain and XLA, geometric mean",
        "2.5x",
        partial(_against, (peers.KERAS, peers.KERAS_XLA)),
    ),
    Target(
        "training",
        "training against a scan in JAX, geometric mean",
        "2.5x",
        partial(_against, (peers.JAX,)),
    ),
    Target("words", "training from 30,000 words, against torch.nn.Embedding + torch.nn.LSTM", "1.5x", _words),
)
