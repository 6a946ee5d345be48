"""The files of users who define cells of their own, and how their mistakes are refused."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from holdfast.cells import CELLS
from holdfast.cells.define import VOCABULARY
from holdfast.errors import ConfigError

HEAD = f"""import math
import numpy as np
import torch
from holdfast import cell
from holdfast.cells import Parameter, {", ".join(name for name in VOCABULARY if name != "log")}
"""
FIRST = HEAD.count("\n") + 1  # the line of the decorator
KEEPS = "c = sigmoid(f) * c + tanh(g)"
ENDS = "return named(c=c, h=tanh(c))"


def body(*lines: str, decorator: str = "@cell", arguments: str = "f, g, c") -> str:
    """A cell of those lines."""
    return "\n".join([decorator, f"def mine({arguments}):", *(f"    {line}" for line in lines), ""])


def check_refusal(load: Callable[[str], ModuleType], text: str, line: int, message: str) -> None:
    """The text is refused in one line with its place, counted from the decorator; nothing is registered."""
    before = dict(CELLS)
    with pytest.raises(ConfigError, match=message) as error:
        load(text)
    assert str(error.value).startswith(f"my_cells.py, line {FIRST + line - 1}: cell '")
    assert str(error.value).count("my_cells.py") == 1
    assert str(error.value).count("cell '") == 1
    assert "\n" not in str(error.value)
    assert before == CELLS
