"""Times works in turn, so that all of them meet the same machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import NamedTuple

from problem import Work

SHORTEST_SAMPLE_S = 1e-4  # shorter works are repeated within a sample: the clock itself takes 0.1 us
TURN_S = 0.02  # what a turn lasts at least, so that a peer's spinning threads do not disturb most of ours
LEAST_ROUNDS = 5


class Times(NamedTuple):
    """Milliseconds of one call: the median, the quartiles, and how many samples there were."""

    median: float
    low: float
    high: float
    samples: int


def time_in_turn(works: Sequence[Work], seconds: float) -> list[Times]:
    """The times of each work: at least 5 rounds, until each had `seconds` on average.

    Each round gives every work one turn, every other round in the opposite order. A turn is one sample, or as
    many as fit into 20 ms, of which the first only wakes threads and caches and is not kept.
    """
    repeats = [_repeats(work) for work in works]
    samples: list[list[float]] = [[] for _ in works]
    order = list(range(len(works)))
    began, rounds = time.perf_counter(), 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - began < seconds * len(works):
        for place in order:
            samples[place] += _turn(works[place], repeats[place])
        order.reverse()
        rounds += 1
    return [_summary(kept) for kept in samples]


def _repeats(work: Work) -> int:
    work.call()
    work.call()
    return max(1, math.ceil(SHORTEST_SAMPLE_S / max(_sample(work, 1), 1e-8)))


def _sample(work: Work, repeats: int) -> float:
    """The seconds of one call."""
    if work.seconds is not None:
        return work.seconds(repeats) / repeats
    call = work.call
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _turn(work: Work, repeats: int) -> list[float]:
    began, kept = time.perf_counter(), []
    while not kept or time.perf_counter() - began < TURN_S:
        kept.append(_sample(work, repeats))
    return kept[1:] or kept


def _summary(samples: list[float]) -> Times:
    if len(samples) == 1:
        samples = samples * 2
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Times(1000 * median(samples), 1000 * low, 1000 * high, len(samples))
