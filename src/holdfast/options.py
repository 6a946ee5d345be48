"""Options: frozen dataclasses whose fields carry their default, their range and their meaning.

The room that uses an option declares it; the task gathers them into one configuration that is
validated, printed by `holdfast init` and saved with the model.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from holdfast.errors import ConfigError


def option(default: Any, meaning: str, *, at_least: float | None = None, at_most: float | None = None) -> Any:
    """A dataclass field with its default, its meaning (one line, with the unit) and its inclusive range."""
    return dataclasses.field(
        default=default, metadata={"meaning": meaning, "at_least": at_least, "at_most": at_most}
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """The base of every group of options: no unknown names, no numbers out of range."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_range(field)

    def _check_range(self, field: dataclasses.Field[Any]) -> None:
        value = getattr(self, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        low = field.metadata.get("at_least")
        high = field.metadata.get("at_most")
        if (
            (isinstance(value, float) and not math.isfinite(value))
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            wanted = " and ".join(
                [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
            )
            raise ConfigError(f"{field.name} is {value}; it must be {wanted or 'a finite number'}")
