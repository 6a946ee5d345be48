"""The history of the epochs as CSV, and back."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import given
from hypothesis import strategies as st

from holdfast.training.history import EpochRow, from_csv, to_csv

NUMBERS = st.floats(allow_nan=False)
ROWS = st.builds(EpochRow, st.integers(1, 10_000), *[NUMBERS for _ in dataclasses.fields(EpochRow)[1:]])


def test_the_text() -> None:
    row = EpochRow(1, 0.5, 0.25, 0.75, 1e-05, math.inf, 0.0, 2.0)
    assert to_csv([row]) == (
        "epoch,train_loss,valid_loss,valid_accuracy,learning_rate,gradient_norm,clipped_share,seconds\n"
        "1,0.5,0.25,0.75,1e-05,inf,0.0,2.0\n"
    )


@given(st.lists(ROWS, max_size=4))
def test_round_trip(rows: list[EpochRow]) -> None:
    assert from_csv(to_csv(rows)) == rows
