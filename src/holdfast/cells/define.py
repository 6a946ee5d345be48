"""`@holdfast.cell`: a user's own cell from one plain function, with errors that name the line of it."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import inspect
import itertools
import pickle
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, overload

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, symbols_of
from holdfast.cells.registry import BUILT_IN, CELLS
from holdfast.errors import ConfigError

Function = Callable[..., dict[str, Expression]]

# What a cell may call; all of it comes from holdfast.cells.
VOCABULARY = (
    "absolute",
    "exp",
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
)

_USUAL_GATES = ("i", "f", "g", "o")
_TAKEN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@overload
def cell(function: Function, /) -> Cell: ...


@overload
def cell(
    *,
    gates: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    parameters: Sequence[Parameter] | None = None,
    split: Sequence[str] = (),
    references: Sequence[str] = (),
    name: str | None = None,
) -> Callable[[Function], Cell]: ...


def cell(
    function: Function | None = None,
    /,
    *,
    gates: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    parameters: Sequence[Parameter] | None = None,
    split: Sequence[str] = (),
    references: Sequence[str] = (),
    name: str | None = None,
) -> Cell | Callable[[Function], Cell]:
    """Make a cell of a function and register it, so that `holdfast.LSTM(..., cell=name)` finds it.

    The function takes, as symbols for one unit, the gates' pre-activations (W x + R h + b), then the states
    other than h as the step before left them, then its parameters. It returns `named(...)` with every value
    that a trace shall show, among them the next states; h is the output. It may use + - * /, whole powers,
    comparisons, and what `holdfast.cells` exports: exp, log, sqrt, sigmoid, tanh, relu, absolute, maximum,
    minimum, where, and over all units normalise and product. The derivative follows from it. A cell that is
    defined again under its name, as in a notebook, replaces the one before.

    Args:
        function: the equations, where the decorator is used without brackets.
        gates: the gates, in the order of their rows in the weights; by default the leading arguments of the
            function that are called i, f, g or o.
        states: what is carried from step to step, h first; by default `("h", "c")` if the function has an
            argument c, else `("h",)`.
        parameters: what its last arguments stand for; by default each is a vector `[H]` of that name, which
            starts at the argument's default value if it has one, else like the weights.
        split: the gates that come as three arguments, gate i as `x_i`, `r_i`, `b_i`: W x, R h and the bias.
        references: where the equations come from.
        name: what `cell=` calls it; by default the function's name.

    Returns:
        The cell, in the place of the function.

    Raises:
        ConfigError: what is wrong with the function, with its file and line.

    Example:
        >>> from holdfast.cells import named, sigmoid, tanh
        >>> @cell
        ... def minimal(f, g, c):
        ...     f, g = sigmoid(f), tanh(g)
        ...     c = f * c + (1 - f) * g
        ...     return named(f=f, g=g, c=c, h=tanh(c))
        >>> minimal.gates, minimal.states
        (('f', 'g'), ('h', 'c'))
    """

    def define(function: Function) -> Cell:
        if not inspect.isfunction(function):
            raise ConfigError(f"holdfast.cell makes a cell of a function, got {function!r}")
        equations = _Equations(function, function.__name__ if name is None else name)
        made = equations.cell(gates, states, parameters, tuple(split), tuple(references))
        CELLS[made.name] = made
        return made

    return define if function is None else define(function)


class _Equations:
    """A user's function: its errors say where they come from, and it pickles by its name in its module."""

    def __init__(self, function: Function, cell_name: str) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.cell_name = cell_name
        self.path = function.__code__.co_filename
        self.first_line, self.last_line = _lines(function)
        self.has_run = False

    def __call__(self, *symbols: Expression) -> dict[str, Expression]:
        try:
            values = self.function(*symbols)
        except Exception as error:
            self.refuse(_explained(error), self._line_of(error), error)
        if not isinstance(values, Mapping) or not all(isinstance(v, Expression) for v in values.values()):
            self.refuse(f"it must return named(...), but returned {values!r}", self.last_line)
        self.has_run = True
        return values

    def __deepcopy__(self, memo: dict[int, object]) -> _Equations:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        place = self.function.__module__, self.function.__qualname__
        try:
            found = _equations_at(*place)
        except (ImportError, AttributeError):
            found = None
        if found is not self:
            raise pickle.PicklingError(
                f"the cell {self.cell_name!r} pickles as {'.'.join(place)}, which is not (or no more) this "
                "cell; define it once, at the top of a module"
            )
        return _equations_at, place

    def cell(
        self,
        gates: Sequence[str] | None,
        states: Sequence[str] | None,
        parameters: Sequence[Parameter] | None,
        split: tuple[str, ...],
        references: tuple[str, ...],
    ) -> Cell:
        """The cell of this function, with what is not given read off its arguments."""
        if any(self.cell_name == other.name for other in BUILT_IN):
            self.refuse("holdfast has a cell of that name itself; give this one another")
        arguments = self._arguments()
        if gates is None:
            gates = tuple(itertools.takewhile(_USUAL_GATES.__contains__, arguments))
        if states is None:
            states = ("h", "c") if "c" in arguments else ("h",)
        self._check_names(gates=gates, states=states)
        before = sum(3 if gate in split else 1 for gate in gates) + len(states) - 1
        if parameters is None:
            parameters = [self._parameter(arguments[name]) for name in list(arguments)[before:]]
        try:
            made = Cell(
                self.cell_name,
                self,
                tuple(gates),
                tuple(states),
                tuple(parameters),
                references,
                split,
            )
        except ConfigError as error:
            self.refuse(str(error), self.last_line if self.has_run else self.first_line, error)
        self._check_use(made)
        self._check_derivative(made)
        return made

    def _arguments(self) -> dict[str, inspect.Parameter]:
        arguments = dict(inspect.signature(self.function).parameters)
        for argument in arguments.values():
            if argument.kind not in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD):
                self.refuse(f"its function must take plain arguments, got {argument}")
        return arguments

    def _check_names(self, **names: Sequence[str]) -> None:
        for what, given in names.items():
            if isinstance(given, str):
                self.refuse(f"{what} must be a tuple of names, got {given!r}: write ({given!r},)")
        if not names["gates"]:
            self.refuse(
                "its first argument is none of the usual gates i, f, g, o; say which ones are gates: "
                "@holdfast.cell(gates=('f', 'g'))"
            )

    def _parameter(self, argument: inspect.Parameter) -> Parameter:
        if argument.name in _TAKEN:
            self.refuse(f"every layer has a {argument.name}; give this parameter another name")
        start = None if argument.default is argument.empty else argument.default
        if start is not None and not isinstance(start, int | float):
            self.refuse(f"the default of {argument.name} is its first value, a number, got {start!r}")
        meaning = f"the parameter {argument.name} of {self.cell_name}"
        return Parameter(
            argument.name, (argument.name,), meaning, start=None if start is None else float(start)
        )

    def _check_use(self, made: Cell) -> None:
        used = symbols_of(made.values.values())
        for argument, name in zip(made.arguments, made.base_inputs, strict=True):
            if name not in used:
                self.refuse(
                    f"its argument {argument} changes nothing that it returns; leave it out or use it"
                )

    def _check_derivative(self, made: Cell) -> None:
        try:
            _ = made.gradients
        except ValueError as error:
            words = re.findall(r"\w+", str(error))
            unkept = [a for a, name in zip(made.arguments, made.base_inputs, strict=True) if name in words]
            if not unkept:
                raise
            self.refuse(
                f"its derivative reads {unkept[0]} as it came in, which is not kept for the way back; name "
                f"what is computed from it, or itself: named(..., {unkept[0]}_in={unkept[0]})",
                self.last_line,
                error,
            )

    def refuse(self, problem: str, line: int | None = None, cause: Exception | None = None) -> NoReturn:
        """Raise the problem at that line of the function, by default at its `def`."""
        who = f"cell {self.cell_name!r}: "
        place = f"{Path(self.path).name}, line {line or self.first_line}: "
        if isinstance(cause, ConfigError) and str(cause).startswith(place.partition(" line ")[0]):
            raise cause
        raise ConfigError(place + who + problem.removeprefix(who)) from cause

    def _line_of(self, error: Exception) -> int | None:
        """The last line in the function's file that the error came through."""
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == self.path]
        return lines[-1] if lines else None


def _lines(function: Function) -> tuple[int, int]:
    """The lines of `def` and of the return at the end; the first line twice where there is no source."""
    first = function.__code__.co_firstlineno
    try:
        source = textwrap.dedent("".join(inspect.getsourcelines(function)[0]))
        definition = ast.parse(source).body[0]
    except (OSError, SyntaxError):
        return first, first
    if not isinstance(definition, ast.FunctionDef):
        return first, first
    last = definition.body[-1]
    return first + definition.lineno - 1, first + last.lineno - 1


def _explained(error: Exception) -> str:
    """What went wrong while the function ran over symbols, and what to do."""
    if isinstance(error, NameError) and error.name in VOCABULARY:
        return f"{error}: from holdfast.cells import {error.name}"
    frames = list(traceback.walk_tb(error.__traceback__))
    method = frames[-1][0].f_code.co_name if frames else ""
    if method in ("__bool__", "__pow__", "__getattr__", "__eq__"):
        return str(error)  # a symbol says itself what it cannot do
    close = difflib.get_close_matches(str(getattr(error, "name", "")), VOCABULARY, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"{type(error).__name__}: {error}.{hint} A cell is written over symbols, with + - * / **, "
        f"comparisons and, from holdfast.cells, {', '.join(VOCABULARY)}"
    )


def _equations_at(module: str, name: str) -> _Equations | None:
    """The equations of the cell of that name in a module."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    equations = getattr(found, "function", None)
    return equations if isinstance(equations, _Equations) else None
