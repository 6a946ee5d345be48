"""A cell that a user writes with `@holdfast.cell`, here a copy of `peephole`, against the built-in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import ours
from case import Case, Entry
from problem import Problem, Shape, Side, Work, make

import holdfast
from holdfast.cells import Cell, Expression, Parameter, named, sigmoid, tanh

SHAPES = {
    "tiny": (Shape(5, 2, 4, 8),),
    "quick": (Shape(100, 16, 64, 128),),
    "full": (
        Shape(100, 1, 64, 64),
        Shape(100, 16, 64, 128),
        Shape(100, 32, 128, 256),
        Shape(400, 64, 64, 128),
    ),
}


def cases(size: str) -> Iterator[Case]:
    for shape in SHAPES[size]:
        for work in ("training", "forward"):
            yield Case("own_cell", f"{work} {shape}", _entries(shape, work))


def _entries(shape: Shape, work: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make(shape, work, "peephole")
        yield Entry(ours.LAYER, problem)
        yield Entry(OWN_CELL, problem)

    return entries


@cache
def own_cell() -> Cell:
    """Made when it is first needed, since a cell is registered where it is made."""
    peepholes = Parameter("weight_peephole", ("p_i", "p_f", "p_o"), "what i, f and o see of the cell state")

    @holdfast.cell(parameters=[peepholes])
    def own_peephole(
        i: Expression,
        f: Expression,
        g: Expression,
        o: Expression,
        c: Expression,
        p_i: Expression,
        p_f: Expression,
        p_o: Expression,
    ) -> dict[str, Expression]:
        i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p_o * c)
        return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(c))

    return own_peephole


def in_own_cell(problem: Problem) -> Work:
    return ours.in_layer(problem, cell=own_cell())


def _on_another_path(problem: Problem) -> str | None:
    return ours.reason_against_core(problem, cell=own_cell())


OWN_CELL = Side("holdfast.LSTM, a user's cell", "holdfast", in_own_cell, refuses=_on_another_path)
