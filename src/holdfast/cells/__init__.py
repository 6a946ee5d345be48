"""Equations: each cell's pointwise equations once, as plain Python over symbols; no third party."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import (
    Expression,
    absolute,
    exp,
    log,
    maximum,
    minimum,
    named,
    normalise,
    product,
    relu,
    sigmoid,
    sqrt,
    tanh,
    where,
)
from holdfast.cells.registry import CELLS, get

__all__ = [
    "CELLS",
    "Cell",
    "Expression",
    "Parameter",
    "absolute",
    "exp",
    "get",
    "log",
    "maximum",
    "minimum",
    "named",
    "normalise",
    "product",
    "relu",
    "sigmoid",
    "sqrt",
    "tanh",
    "where",
]
