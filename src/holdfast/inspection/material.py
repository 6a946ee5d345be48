"""What a report is made of: a network, rows to read, and what its task knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.inspection.history import Epoch
from holdfast.inspection.subject import Reading, Subject


@dataclass(frozen=True)
class ChosenRow:
    """A row that is looked at step by step.

    Attributes:
        reading: the row.
        because: why it was chosen: `"right, and the surest"`.
        says: what the model says of it, in words: `"negative, 93 %"`.
        part_says: where the network is only a part of the model, what it says alone; else "".
    """

    reading: Reading
    because: str
    says: str
    part_says: str = ""


@dataclass(frozen=True)
class Material:
    """Everything that a report needs to know.

    Attributes:
        title: such as `"model: text classification"`.
        facts: what to call the network, by name: `{"cell": "lstm", "units": "2 x 128"}`.
        subject: the network.
        readings: rows that the measures over many rows read.
        chosen: rows to look at step by step.
        properties: of the steps of `readings`: see `following.following`.
        probabilities: of the classes for N labelled rows, `[N, K]`; None where there are no labels.
        targets: the right classes, `[N]`, or `[N, K]` bool.
        history: the training, epoch by epoch; may be empty.
        advice: sentences, after the training; None where the training did not take the measures.
        exclusive: whether exactly one output is right, so that what is explained is its log odds against the
            others.
    """

    title: str
    facts: Mapping[str, str]
    subject: Subject
    readings: Sequence[Reading]
    chosen: Sequence[ChosenRow]
    properties: Mapping[str, Sequence[NDArray[Any]]] = field(default_factory=dict)
    probabilities: NDArray[Any] | None = None
    targets: NDArray[Any] | None = None
    history: Sequence[Epoch] = ()
    advice: Sequence[str] | None = None
    exclusive: bool = True

    def __post_init__(self) -> None:
        if not self.readings:
            raise InputError("there is no row to look at")

    @property
    def what_to_try(self) -> tuple[str, ...]:
        """The advice in sentences; one that says so where there is none."""
        if self.advice is None:
            return ("This model was trained without these measures.",)
        return tuple(self.advice) or ("The measures of training give no reason for advice.",)


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` indices, evenly spread, in order."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)
