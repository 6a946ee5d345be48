"""Between which numbers each value of a cell lies, whatever its inputs: interval arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from holdfast.cells.expression import Expression, ordered

Interval = tuple[float, float]
ANYTHING: Interval = (-math.inf, math.inf)


def bounds(values: Mapping[str, Expression]) -> dict[str, Interval]:
    """The lowest and the highest number that each named value can be; infinite where nothing bounds it.

    A gate lies between 0 and 1, however it is called and written: `sigmoid(i)` as well as `1 - f`. An
    interval may be wider than what is reached, since uses of the same value are taken as independent.

    Args:
        values: the values of a cell, `Cell.values`.
    """
    found: dict[Expression, Interval] = {}
    for node in ordered(values.values()):
        if node.op == "constant":
            found[node] = (node.value, node.value)
        elif node.op in _RULES:
            found[node] = _RULES[node.op](*(found[argument] for argument in node.args))
        else:
            found[node] = ANYTHING
    return {name: found[node] for name, node in values.items()}


def _corners(operation: Callable[[float, float], float]) -> Callable[[Interval, Interval], Interval]:
    """For an operation that is monotone in each argument: its extremes are at the corners."""

    def rule(a: Interval, b: Interval) -> Interval:
        ends = [operation(x, y) for x in a for y in b]
        return min(ends), max(ends)

    return rule


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y  # an infinite bound is never reached


def _divided(a: Interval, b: Interval) -> Interval:
    if b[0] <= 0 <= b[1]:
        return ANYTHING
    return _corners(_times)(a, (1 / b[1], 1 / b[0]))


def _absolute(a: Interval) -> Interval:
    return max(a[0], -a[1], 0.0), max(-a[0], a[1])


def _sigmoid(x: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf  # beyond, a float overflows


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _rising(function: Callable[[float], float]) -> Callable[[Interval], Interval]:
    return lambda a: (function(a[0]), function(a[1]))


def _either(_condition: Interval, a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


_RULES: dict[str, Callable[..., Interval]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda a: (-a[1], -a[0]),
    "mul": _corners(_times),
    "div": _divided,
    "abs": _absolute,
    "exp": _rising(_exp),
    "log": _rising(_log),
    "sqrt": _rising(lambda x: math.sqrt(max(x, 0.0))),
    "sigmoid": _rising(_sigmoid),
    "tanh": _rising(math.tanh),
    "relu": _rising(lambda x: max(x, 0.0)),
    "maximum": _corners(max),
    "minimum": _corners(min),
    "where": _either,
}
