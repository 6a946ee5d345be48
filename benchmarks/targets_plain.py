"""The targets of the plain cell and of the pointwise variants, in float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import ours
import peers
from groups.scaling import AXES, cost
from problem import Shape
from records import Records
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
    speedups,
    value_of,
)

LARGE_BATCH = 16


def _training(records: Records) -> Verdict | None:
    found = [item for item in speedups(records, "training", peers.TORCH.name) if item.shape.B >= LARGE_BATCH]
    if not found:
        return None
    mean = geometric_mean(item.ratio for item in found)
    floors = [(item.ratio, 1.1 if item.shape.H >= 1500 else 1.3) for item in found]
    return Verdict(f"{mean:.2f}x, {lowest(found)}", shortfall((mean, 1.8), *floors))


def _forward(records: Records) -> Verdict | None:
    found = [item for item in speedups(records, "forward") if item.shape.B >= LARGE_BATCH]
    if not found:
        return None
    mean = geometric_mean(item.ratio for item in found)
    return Verdict(
        f"{mean:.2f}x, {lowest(found)}", shortfall((mean, 1.15), *((item.ratio, 1.0) for item in found))
    )


def _single_row(records: Records) -> Verdict | None:
    found = [
        item
        for item in speedups(records, "forward", own=ours.NUMPY.name)
        if (item.shape.T, item.shape.B) == (100, 1)
    ]
    if not found:
        return None
    listed = ", ".join(f"{item.ratio:.2f}x at {item.shape}" for item in found)
    return Verdict(listed, shortfall(*((item.ratio, 2.0) for item in found)))


def _step(side: str, goal_us: float) -> Callable[[Records], Verdict | None]:
    def judge(records: Records) -> Verdict | None:
        rows = [row for row in records.rows("step") if (row["I"], row["H"]) == ("64", "64")]
        value = 1000 * value_of(rows, side)
        if not math.isfinite(value):
            return None
        measured = [row for row in rows if not row["side"].endswith("published")]
        others = {"ONNX Runtime here": value_of(measured, peers.ONNX_RUNTIME.name)}
        others["RTNeural as published"] = value_of(rows, "RTNeural, published")
        beside = ", ".join(f"{name} {1000 * v:.1f}" for name, v in others.items() if math.isfinite(v))
        return Verdict(f"{value:.2f} us ({beside})", excess(value, goal_us))

    return judge


def _lengths(records: Records) -> Verdict | None:
    rows = dict(records.cases("lengths")).get(f"lengths 1 to T, {Shape(400, 64, 64, 128)}", [])
    if not rows:
        return None
    ratio = value_of(rows, peers.PACKED.name) / value_of(rows, PLAIN_LAYER)
    return Verdict(f"{ratio:.1f}x", shortfall((ratio, 10.0)))


def _variants_over_plain(records: Records) -> Verdict | None:
    found = [(item.over_plain, item.case) for item in compared_variants(records, "variants")]
    return (
        Verdict(f"at most {max(found)[0]:.2f}x, {max(found)[1]}", excess(max(found)[0], 1.2))
        if found
        else None
    )


def _variants_against_loops(records: Records) -> Verdict | None:
    found = [(item.best_loop, item.case) for item in compared_variants(records, "variants")]
    return (
        Verdict(f"at least {min(found)[0]:.2f}x, {min(found)[1]}", shortfall((min(found)[0], 3.0)))
        if found
        else None
    )


def _memory(records: Records) -> Verdict | None:
    found = []
    for _, rows in records.cases("memory"):
        ratio = value_of(rows, PLAIN_LAYER) / value_of(rows, peers.TORCH.name)
        found.append(Speedup(ratio, shape_of(rows[0])))
    if not found:
        return None
    worst, mean = max(found), geometric_mean(item.ratio for item in found)
    return Verdict(f"{mean:.2f}x, highest {worst.ratio:.2f}x at {worst.shape}", excess(worst.ratio, 1.0))


def shares(records: Records, work: str) -> list[Speedup]:
    """The share of the fastest product that was timed in the same case."""
    found = []
    for _, rows in records.cases("product"):
        products = [float(row["gflop_s"]) for row in rows if row["side"] == "product"]
        own = [row for row in rows if row["side"] == PLAIN_LAYER and row["work"] == work]
        if own and products:
            found.append(Speedup(float(own[0]["gflop_s"]) / max(products), shape_of(own[0])))
    return found


def _product(records: Records) -> Verdict | None:
    found = shares(records, "training")
    if not found:
        return None
    worst, mean = min(found), geometric_mean(item.ratio for item in found)
    text = f"{100 * mean:.0f} %, lowest {100 * worst.ratio:.0f} % at {worst.shape}"
    return Verdict(text, shortfall((worst.ratio, 0.75)))


def exponent(records: Records, work: str, axis: str) -> float | None:
    """The slope of log time over log cost, by least squares."""
    rows = dict(records.cases("scaling")).get(f"{work}, {axis}", [])
    if len(rows) < 2:
        return None
    costs = [math.log(cost(axis, shape_of(row))) for row in rows]
    times = [math.log(float(row["value"])) for row in rows]
    centre_x, centre_y = math.fsum(costs) / len(costs), math.fsum(times) / len(times)
    covariance = math.fsum((x - centre_x) * (y - centre_y) for x, y in zip(costs, times, strict=True))
    return covariance / math.fsum((x - centre_x) ** 2 for x in costs)


def _scaling(records: Records) -> Verdict | None:
    found = {axis: exponent(records, "training", axis) for axis in AXES["full"]}
    known = {axis: value for axis, value in found.items() if value is not None}
    if not known:
        return None
    off = max(abs(value - 1) for value in known.values())
    listed = ", ".join(f"{axis} {value:.2f}" for axis, value in known.items())
    return Verdict(listed, 100 * max(0.0, off - 0.05))


TARGETS = (
    Target(
        "training",
        "training, dense, plain cell, B >= 16, against torch.nn.LSTM, geometric mean",
        "1.8x; none under 1.3x (1.1x at H >= 1500)",
        _training,
    ),
    Target("forward", "forward, B >= 16, against the best of all peers", "1.15x; none under 1.0x", _forward),
    Target(
        "forward", "forward, T = 100, B = 1, against the best of all peers, numpy entry", "2.0x", _single_row
    ),
    Target("step", "one step, B = 1, I = H = 64, inside the core", "1.0 us", _step(ours.CORE_STEP.name, 1.0)),
    Target(
        "step", "one step, B = 1, I = H = 64, from Python with numpy", "2.5 us", _step(ours.STEP.name, 2.5)
    ),
    Target(
        "lengths", "training, lengths of mean T/2, 400 64 64 128, against PackedSequence", "10x", _lengths
    ),
    Target("variants", "training of each variant over our plain cell", "at most 1.2x", _variants_over_plain),
    Target(
        "variants", "training of each variant against the best loop in torch", "3x", _variants_against_loops
    ),
    Target("memory", "peak memory in training against torch.nn.LSTM", "at most 1.0x", _memory),
    Target("product", "share of the fastest product, training, B >= 32, H 128 to 650", "75 %", _product),
    Target("scaling", "training time, exponents in T, B and H(I + H)", "1.0 +- 0.05", _scaling),
)
