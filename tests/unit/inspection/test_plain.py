"""Measures as JSON."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from holdfast.inspection.plain import plain


@dataclasses.dataclass(frozen=True)
class Inner:
    value: np.float32
    steps: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outer:
    parts: dict[str, Inner]
    pair: tuple[int, float]


def test_everything_becomes_what_json_holds() -> None:
    given = Outer(
        {"a": Inner(np.float32(0.5), np.array([[1.0, np.inf], [np.nan, -2.0]]))}, (3, float("-inf"))
    )
    expected = {"parts": {"a": {"value": 0.5, "steps": [[1.0, None], [None, -2.0]]}}, "pair": [3, None]}
    assert plain(given) == expected
    assert json.loads(json.dumps(plain(given), allow_nan=False)) == expected
