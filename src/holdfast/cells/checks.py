"""What makes a cell impossible, found where it is defined and said in terms of its definition."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING

from holdfast.cells.expression import Expression, ordered, symbol, symbols_of
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.cells.cell import Cell, Parameter

# What printed code calls into.
_RESERVED = {"torch", "normalise", "normalise_backward", "product", "product_backward", "outer"}
_OF_EVERY_LAYER = {"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"}


def check_declaration(cell: Cell) -> None:
    """Names, states, split gates and the function's arguments.

    Raises:
        ConfigError: they do not fit each other.
    """
    for problem in _of_declaration(cell):
        raise ConfigError(f"cell {cell.name!r}: {problem}")


def check_values(cell: Cell, values: Mapping[str, Expression]) -> None:
    """What the function returned.

    Raises:
        ConfigError: a value that no step can compute, or that cannot be told apart from something else.
    """
    for problem in _of_values(cell, values):
        raise ConfigError(f"cell {cell.name!r}: {problem}")


def check_names(cell: Cell) -> None:
    """In printed code one name must not stand for two things, whatever modifiers and calls add to the step.

    Raises:
        ConfigError: it does.
    """
    added = _added(cell)
    inputs = {*cell.base_inputs, *cell.inputs, *added}
    gradients = {f"d_{name}" for name in (*cell.states, *inputs)}
    taken = inputs | gradients | {f"{state}_{what}" for state in cell.states for what in ("next", "raw")}
    for name in cell.plain_values:
        if name in taken or not _nameable(name):
            raise ConfigError(
                f"cell {cell.name!r}: a value is called {name!r}, which is no Python identifier or means "
                "something else in its step; give it another name"
            )
    matrices = [parameter.name for parameter in cell.parameters if parameter.columns]
    twice = [name for name in cell.rows if cell.base_inputs.count(name) > 1 or name in added]
    twice += [name for name in matrices if name in {*cell.base_inputs, *cell.values, *added, *gradients}]
    if twice:
        raise ConfigError(f"cell {cell.name!r}: its step has one name for two inputs: {twice[0]}")


def _added(cell: Cell) -> set[str]:
    """The symbols that modifiers and calls may add to a step."""
    of_states = {f"{state}_{what}" for state in cell.states for what in ("prev", "start")}
    of_states |= {f"{what}_{state}" for state in cell.states for what in ("keep", "tap", "zoneout")}
    own = {"drop_g", "drop_h", "entering", "limit_c", "scale_g", "scale_h", "starts", "valid", "weight_hr"}
    return of_states | own | {f"tap_{gate}" for gate in cell.gates}


def _of_declaration(cell: Cell) -> Iterator[str]:
    if not _nameable(cell.name):
        yield "its name must be a Python identifier other than torch, since code is printed from it"
    if cell.states[:1] != ("h",):
        yield f"the first state must be h, got states {cell.states}"
    for gate in cell.gates:
        if gate in {"h", "c"}:
            yield f"a gate is called {gate!r}, as a state is; give it another name"
    if not set(cell.split) <= set(cell.gates):
        yield f"split names {cell.split}, its gates are {cell.gates}"
    taken = {*_OF_EVERY_LAYER, *(f"initial_{state}" for state in cell.states)}
    for parameter in cell.parameters:
        if parameter.name in taken:
            yield f"a parameter is called {parameter.name!r}; every layer has {', '.join(sorted(taken))}"
        if not _nameable(parameter.name):
            yield f"a parameter is called {parameter.name!r}, which is no Python identifier that it may have"
        if [other.name for other in cell.parameters].count(parameter.name) > 1:
            yield f"two parameters are called {parameter.name!r}"
        if not isinstance(parameter.feeds, tuple) or not parameter.feeds:
            yield f"the feeds of {parameter.name!r} are a tuple of names, ('w',), got {parameter.feeds!r}"
    arguments = list(inspect.signature(cell.function).parameters)
    if arguments != cell.arguments:
        yield f"its function must take {cell.arguments}, got {arguments}"


def _of_values(cell: Cell, values: Mapping[str, Expression]) -> Iterator[str]:
    for state in cell.states:
        if state not in values:
            yield f"its function names no next value for the state {state!r}"
        elif values[state] is symbol(f"{state}_prev"):
            yield f"the next {state} is the old one, so it never changes: name the new one, {state}=..."
    matrices = {parameter.name: parameter for parameter in cell.parameters if parameter.columns}
    for name in sorted(symbols_of(values.values()) - {*cell.base_inputs, *matrices}):
        yield f"product({name!r}, ...) needs a parameter of that name: Parameter({name!r}, ..., columns=...)"
    changing = {*cell.gate_inputs, *(f"{state}_prev" for state in cell.states)}
    for name, value in values.items():
        if value.op.startswith("less"):
            yield f"the value {name!r} is a comparison; make numbers of it: where(..., 1, 0)"
        if not symbols_of([value]) & changing:
            yield f"the value {name!r} depends on no gate and no old state: it never changes"
    for node in ordered(values.values()):
        yield from _of_node(node)
        if node.op == "product":
            yield from _of_product(node, matrices)
        if node.op in {"normalise", "product"}:
            parts = node.args[1:] if node.op == "product" else node.args
            if any(not symbols_of([part]) & changing for part in parts):
                yield f"each part that {node.op} takes must depend on a gate or an old state"


def _of_product(node: Expression, matrices: Mapping[str, Parameter]) -> Iterator[str]:
    own = matrices.get(node.args[0].name)
    if own is None:
        yield f"product({node.args[0].name!r}, ...) needs a matrix: Parameter(..., columns=...)"
    elif (int(node.value), len(node.args) - 1) != (len(own.feeds), own.columns):
        yield (
            f"product({own.name!r}, ...) takes {own.columns} parts and blocks={len(own.feeds)}, as "
            f"its parameter is declared; got {len(node.args) - 1} and blocks={int(node.value)}"
        )


def _of_node(node: Expression) -> Iterator[str]:
    if node.op == "where" and not node.args[0].op.startswith("less"):
        yield "where takes a comparison first: where(c < 0, ..., ...)"
    others = node.args[1:] if node.op == "where" else node.args
    if any(argument.op.startswith("less") for argument in others):
        yield "a comparison is no number; make one of it: where(..., 1, 0)"


def _nameable(name: str) -> bool:
    """Whether printed code can call something so."""
    return name.isidentifier() and not iskeyword(name) and name not in _RESERVED
