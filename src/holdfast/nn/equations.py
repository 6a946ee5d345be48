"""What a cell's own equations say of a trace: the values' bounds, what stays of the state, what reads h."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.cells import Cell
from holdfast.cells.bounds import Interval, bounds
from holdfast.cells.derivative import derivative
from holdfast.cells.expression import Expression, constant, ordered, substituted, symbol
from holdfast.nn.lstm import LSTM

Values = Mapping[str, NDArray[Any]]


def evaluation_cell(layer: LSTM) -> Cell:
    """The cell as it runs at evaluation: without dropout, zoneout by its expectation."""
    return layer._evaluation_cell


def value_bounds(layer: LSTM) -> dict[str, Interval]:
    """The lowest and the highest number that each traced value of a layer can be: `cells.bounds`."""
    return bounds(evaluation_cell(layer).values)


def kept_shares(layer: LSTM, values: Values) -> dict[str, NDArray[Any] | None]:
    """Which share of each old state a step carries over into the new one, unit by unit.

    It is the derivative of the new state to the old one with the gates held fixed, that is all named values
    that are bounded: f of an LSTM, 1 of the cell of 1997, 0 where a step overwrites its state as in `rnn`,
    and whatever a user's equations say. What runs through the weight matrices is not in it.

    Args:
        layer: gives the equations.
        values: each named value of one direction, `[...]` of any shape, at evaluation.

    Returns:
        By state: the share, shaped as its value; None where the equations mix units (`normalise`,
        `product`) or where the share depends on the old state itself.
    """
    cell = evaluation_cell(layer)
    shares: dict[str, NDArray[Any] | None] = {}
    for state in cell.states:
        share = _share(cell, state)
        known = share is not None and all(map(partial(_known, values), ordered([share])))
        shares[state] = _computed(share, values, values[state]) if share is not None and known else None
    return shares


def blocks_that_read_h(layer: LSTM, matrix: str) -> list[int]:
    """The column blocks of a further matrix that are multiplied by h, or by what is made of the old h.

    Args:
        layer: gives the equations.
        matrix: the name of a parameter; of a vector there are none.

    Returns:
        Indices in order, from 0; the other blocks read gates or other states.
    """
    values = layer.cell.values
    readers = {symbol("h_prev"), values["h"]}
    products = [node for node in ordered(values.values()) if node.op == "product"]
    uses = [node.args[1:] for node in products if node.args[0].name == matrix]
    reading = {k for parts in uses for k, part in enumerate(parts) if readers & {*ordered([part])}}
    return sorted(reading)


def _known(values: Values, node: Expression) -> bool:
    return node.name in values if node.op == "symbol" else node.op == "constant" or node.op in _NUMPY


def _share(cell: Cell, state: str) -> Expression | None:
    """d new / d old with the gates as symbols; 0 where the old one is not read directly."""
    new, old = cell.values[state], symbol(f"{state}_prev")
    finite = {name for name, ends in bounds(cell.values).items() if all(map(math.isfinite, ends))}
    gates = {
        node: symbol(name)
        for name, node in reversed(list(cell.values.items()))
        if name in finite and node is not new
    }
    numbers = {symbol(name): constant(value) for name, value in cell.graph.scalars.items()}
    shown = substituted(substituted(new, gates), numbers)
    nodes = dict.fromkeys(ordered([shown]))
    if old not in nodes:
        return constant(0)
    if any(node.op in {"normalise", "product"} for node in nodes):
        return None
    symbols = [node for node in nodes if node.op == "symbol"]
    return derivative({}, {shown: constant(1)}, [old], symbols)[old]


def _computed(root: Expression, values: Values, like: NDArray[Any]) -> NDArray[Any]:
    found: dict[Expression, Any] = {}
    for node in ordered([root]):
        if node.op == "symbol":
            found[node] = values[node.name]
        elif node.op == "constant":
            found[node] = node.value  # a Python number, which leaves the arrays their type
        else:
            found[node] = _NUMPY[node.op](*(found[argument] for argument in node.args))
    return np.broadcast_to(np.asarray(found[root], like.dtype), like.shape)


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "less": np.less,
    "less_equal": np.less_equal,
}
