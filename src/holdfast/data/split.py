"""A part of the training rows held out for validation."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from holdfast.data.table import TextTable
from holdfast.errors import ConfigError, DataError

Label = str | tuple[str, ...]


def hold_out(
    labels: Sequence[Label], *, fraction: float, seed: int, groups: Sequence[Hashable] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Splits rows in two, each class in the same share, rows of one group always together.

    A class with at least two groups has a row on both sides; a class with one group stays in training.
    Rows with several labels are split by their rarest label, and training keeps a row of every label.

    Args:
        labels: the label of each row, or its tuple of labels.
        fraction: the share held out, between 0 and 1.
        seed: decides which rows.
        groups: what must stay together, such as `duplicates.text_groups(texts)`; None: each row alone.

    Returns:
        The indices of the training rows and of the held-out rows, int64, each in rising order.

    Raises:
        ConfigError: fraction is not between 0 and 1.
        DataError: no class has two groups of which one can be spared.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"fraction is {fraction}; it must be above 0 and below 1")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(range(len(labels)) if groups is None else groups):
        members.setdefault(group, []).append(index)
    if sum(map(len, members.values())) != len(labels):
        raise ConfigError(
            f"{len(labels)} labels but {sum(map(len, members.values()))} groups; give one for each row"
        )
    random = np.random.default_rng(seed)
    left = Counter(name for label in labels for name in _names(label))
    held: list[int] = []
    for stratum in _strata(labels, list(members.values())):
        held += _take(stratum, fraction, random, labels, left)
    if not held:
        raise DataError(
            f"cannot hold out rows from {len(labels)} rows: no class has two different texts to spare; give "
            "more rows, or a file for each part"
        )
    mask = np.zeros(len(labels), dtype=np.bool_)
    mask[held] = True
    return np.flatnonzero(~mask).astype(np.int64), np.flatnonzero(mask).astype(np.int64)


def take(table: TextTable, indices: npt.NDArray[np.int64]) -> TextTable:
    """The rows of `table` at `indices`, with a report that counts only them."""
    texts = [table.texts[index] for index in indices]
    labels = None if table.labels is None else [table.labels[index] for index in indices]
    names = [name for label in labels or [] for name in _names(label)]
    report = dataclasses.replace(
        table.report, rows_kept=len(texts), classes=dict(sorted(Counter(names).items()))
    )
    rows = [table.rows[index] for index in indices]
    return dataclasses.replace(table, texts=texts, labels=labels, rows=rows, report=report)


def _strata(labels: Sequence[Label], groups: list[list[int]]) -> list[list[list[int]]]:
    counts = Counter(name for label in labels for name in _names(label))
    strata: dict[str | None, list[list[int]]] = {}
    for group in groups:
        rarest = min(_names(labels[group[0]]), key=lambda name: (counts[name], name), default=None)
        strata.setdefault(rarest, []).append(group)
    return [strata[name] for name in sorted(strata, key=lambda name: (name is not None, name or ""))]


def _take(
    groups: list[list[int]],
    fraction: float,
    random: np.random.Generator,
    labels: Sequence[Label],
    left: Counter[str],
) -> list[int]:
    """The rows of some of `groups`; `left`, the rows of each label in training, is brought up to date."""
    order = random.permutation(len(groups))
    wanted = fraction * sum(map(len, groups))
    held: list[int] = []
    some_stay = False
    # At least one group on each side, then whatever comes closest to the wanted number of rows.
    for position, number in enumerate(order):
        group = groups[number]
        names = Counter(name for index in group for name in _names(labels[index]))
        closer = abs(len(held) + len(group) - wanted) <= abs(len(held) - wanted)
        # The rows of a label can all stand in strata of rarer labels, or among texts with several labels.
        if any(left[name] <= count for name, count in names.items()):
            some_stay = True
        elif (closer or not held) and (some_stay or position < len(order) - 1):
            held += group
            left.subtract(names)
    return held


def _names(label: Label) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label
