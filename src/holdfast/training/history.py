"""What happened in each epoch, as rows that become `history.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the training rows, with dropout.
        valid_loss: on the validation rows, with the averaged weights.
        valid_accuracy: likewise.
        learning_rate: of the epoch's last step.
        gradient_norm: the epoch's largest, before clipping.
        clipped_share: share of the steps whose gradient was scaled down: exploding gradients made visible.
        seconds: the epoch's wall time, validation included.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    learning_rate: float
    gradient_norm: float
    clipped_share: float
    seconds: float


def to_csv(rows: Sequence[EpochRow]) -> str:
    """`rows` as CSV text with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def from_csv(text: str) -> list[EpochRow]:
    """The rows that `to_csv` wrote."""
    return [
        EpochRow(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
        for row in csv.DictReader(io.StringIO(text))
    ]
