"""Groups of options: numbers in their range, and nothing to change afterwards."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest

from holdfast.errors import ConfigError
from holdfast.options import Options, option


@dataclass(frozen=True)
class Sample(Options):
    both: int = option(2, "between", at_least=1, at_most=3)
    low: float = option(0.5, "from", at_least=0)
    high: float = option(0.5, "up to", at_most=1)
    free: float = option(0.5, "any finite number")
    switch: bool = option(True, "on or off", at_least=5)
    name: str | None = option(None, "a text")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"both": 0}, "both is 0; it must be at least 1 and at most 3"),
        ({"both": 4}, "both is 4; it must be at least 1 and at most 3"),
        ({"both": 10**400}, "it must be at least 1 and at most 3"),
        ({"low": -1e-9}, "low is -1e-09; it must be at least 0"),
        ({"high": 1.5}, "high is 1.5; it must be at most 1"),
        ({"free": math.nan}, "free is nan; it must be a finite number"),
        ({"low": math.inf}, "low is inf; it must be at least 0"),
        ({"high": -math.inf}, "high is -inf; it must be at most 1"),
    ],
)
def test_a_number_out_of_range_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sample(**values)
    assert message in str(caught.value)


def test_the_ends_of_a_range_are_within() -> None:
    assert [Sample(both=value).both for value in (1, 3)] == [1, 3]
    assert Sample(low=0, high=1, free=-1e300, switch=False, name="x").name == "x"


def test_options_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample().both = 1  # type: ignore[misc]
