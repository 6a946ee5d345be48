"""`@holdfast.cell`: a user's own cell from one plain function, with errors that name the line of it."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import inspect
import pickle
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, overload

from holdfast import cells
from holdfast.cells import expression
from holdfast.cells.arguments import Arguments
from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, symbol, symbols_of
from holdfast.cells.registry import BUILT_IN, CELLS
from holdfast.errors import ConfigError

Function = Callable[..., dict[str, Expression]]

_SYMBOLS = symbols_of.__code__.co_filename  # whose errors say all there is to say

# What a cell may call: the functions over symbols that holdfast.cells exports.
VOCABULARY = tuple(
    name
    for name in cells.__all__
    if getattr(getattr(cells, name), "__module__", "") == expression.__name__ and name.islower()
)


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
    minimum, where, and over all units normalise and product. The derivative follows from it. The first call
    on the CPU compiles it, where there is a C++ compiler: see docs/your_own_cell.md. A cell that is defined
    again under its name, as in a notebook, replaces the one before. A layer with it is saved by pickle as its
    function is: by its name in its module.

    Args:
        function: the equations, where the decorator is used without brackets.
        gates: the gates, in the order of their rows in the weights; by default the leading arguments of the
            function that are called i, f, g or o.
        states: what is carried from step to step, h first; by default `("h", "c")` if the function has an
            argument c, else `("h",)`.
        parameters: what its last arguments stand for; by default each is a vector `[H]` of that name, which
            starts at the argument's default value.
        split: the gates that come as three arguments, gate i as `x_i`, `r_i`, `b_i`: W x, R h and the bias.
        references: where the equations come from.
        name: what `cell=` calls it; by default the function's name.

    Returns:
        The cell, in the place of the function.

    Raises:
        ConfigError: what is wrong with the function, with its file and line.

    Example:
        >>> from holdfast.cells import Parameter, named, normalise, product, sigmoid, tanh
        >>> @cell
        ... def minimal(f, g, c):
        ...     f, g = sigmoid(f), tanh(g)
        ...     c = f * c + (1 - f) * g
        ...     return named(f=f, g=g, c=c, h=tanh(c))
        >>> minimal
        <Cell minimal: gates f g, states h c>

        A parameter, whose first value is 1, and a state more than h and c:

        >>> @cell(states=("h", "c", "m"))
        ... def averaging(f, g, c, m, rate=1.0):
        ...     f, g, share = sigmoid(f), tanh(g), sigmoid(rate)
        ...     c = f * c + (1 - f) * g
        ...     m = share * m + (1 - share) * c
        ...     return named(f=f, g=g, c=c, m=m, h=tanh(m))

        A gate in three parts, of which W x and R h are normalised apart, with a gain for each:

        >>> @cell(gates=("f", "g"), split=("g",))
        ... def normalised(f, x_g, r_g, b_g, c, gain_x=1.0, gain_r=1.0):
        ...     (x,), (r,) = normalise(x_g), normalise(r_g)
        ...     f, g = sigmoid(f), tanh(gain_x * x + gain_r * r + b_g)
        ...     c = f * c + (1 - f) * g
        ...     return named(f=f, g=g, c=c, h=tanh(c))

        Declared parameters: peepholes of two gates as one vector `[2H]` that starts like the weights, and a
        matrix `[H, H]` times the old c:

        >>> peepholes = Parameter("weight_peephole", ("p_i", "p_f"), "what i and f see of c")
        >>> matrix = Parameter("weight_c", ("g",), "what g sees of c", columns=1)
        >>> @cell(parameters=(peepholes, matrix))
        ... def seeing(i, f, g, c, p_i, p_f):
        ...     (seen,) = product("weight_c", c)
        ...     i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g + seen)
        ...     c = f * c + i * g
        ...     return named(i=i, f=f, g=g, c=c, h=tanh(c))
        >>> [parameter.shape(64) for parameter in seeing.parameters]
        [(128,), (64, 64)]
    """

    def define(function: Function) -> Cell:
        if not inspect.isfunction(function):
            raise ConfigError(f"holdfast.cell makes a cell of a function, got {function!r}")
        equations = _Equations(function, function.__name__ if name is None else name)
        made = equations.cell(gates, states, parameters, split, references)
        CELLS[made.name] = made
        return made

    return define if function is None else define(function)


_TOO_DEEP = "its equations are nested too deeply; take fewer steps from one to the next"


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
        self.has_run = True
        return self._values(*symbols)

    def _values(self, *symbols: Expression) -> dict[str, Expression]:
        try:
            values = self.function(*symbols)
        except ConfigError:
            raise  # of another cell that this one calls
        except Exception as error:
            line, text = self._last_line(error)
            problem, says_all = _explained(error, text)
            self.refuse(problem, line, None if says_all else error)
        if not isinstance(values, Mapping) or not all(isinstance(v, Expression) for v in values.values()):
            self.refuse(f"it must return named(...), but returned {values!r}", self.last_line)
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
        split: Sequence[str],
        references: Sequence[str],
    ) -> Cell:
        """The cell of this function, with what is not given read off its arguments."""
        if any(self.cell_name == other.name for other in BUILT_IN):
            self.refuse("holdfast has a cell of that name itself; give this one another")
        self._check_types(parameters, gates=gates, states=states, split=split, references=references)
        arguments = self._arguments(gates, states, parameters, split)
        if parameters is None:
            parameters = [self._parameter(arguments.given[name]) for name in arguments.implied]
        try:
            made = Cell(
                self.cell_name,
                self,
                arguments.gates,
                arguments.states,
                tuple(parameters),
                tuple(references),
                tuple(split),
            )
        except ConfigError as error:
            self.refuse(str(error), self.last_line if self.has_run else self.first_line)
        except RecursionError:
            self.refuse(_TOO_DEEP)
        self._check_use(made)
        self._check_derivative(made)
        return made

    def _check_types(self, parameters: Sequence[Parameter] | None, **names: Sequence[str] | None) -> None:
        for what, given in names.items():
            if isinstance(given, str):
                self.refuse(f"{what} must be a tuple of names, got {given!r}: write ({given!r},)")
        for own in [parameters] if isinstance(parameters, Parameter) else parameters or ():
            if not isinstance(own, Parameter) or isinstance(parameters, Parameter):
                self.refuse(
                    f"parameters must be a tuple of holdfast.cells.Parameter, got {own!r}; without it, an "
                    "argument with a first value is a parameter: alpha=0.1"
                )

    def _arguments(
        self,
        gates: Sequence[str] | None,
        states: Sequence[str] | None,
        parameters: Sequence[Parameter] | None,
        split: Sequence[str],
    ) -> Arguments:
        """The function's arguments, once it has run with them and they fit what it names."""
        given = inspect.signature(self.function).parameters
        for argument in given.values():
            if argument.kind not in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD):
                self.refuse(f"its function must take plain arguments, got {argument}")
        arguments = Arguments(
            given,
            None if gates is None else tuple(gates),
            None if states is None else tuple(states),
            None
            if parameters is None
            else tuple(row for own in parameters if not own.columns for row in own.feeds),
            tuple(split),
        )
        for problem in arguments.mistakes():
            self.refuse(problem)
        for problem in arguments.mistakes_beside(self._values(*map(symbol, given))):
            self.refuse(problem)
        return arguments

    def _parameter(self, argument: inspect.Parameter) -> Parameter:
        meaning = f"the parameter {argument.name} of {self.cell_name}"
        return Parameter(argument.name, (argument.name,), meaning, start=float(argument.default))

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
        except RecursionError:
            self.refuse(_TOO_DEEP)
        except ValueError as error:
            words = re.findall(r"\w+", str(error))
            unkept = [a for a, name in zip(made.arguments, made.base_inputs, strict=True) if name in words]
            if not unkept:
                raise
            self.refuse(
                f"its derivative reads {unkept[0]} as it came in, which is not kept for the way back; name "
                f"what is computed from it, or itself: named(..., {unkept[0]}_in={unkept[0]})",
                self.last_line,
            )

    def refuse(self, problem: str, line: int | None = None, cause: Exception | None = None) -> NoReturn:
        """Raise the problem at that line of the function, by default at its `def`."""
        who = f"cell {self.cell_name!r}: "
        place = f"{Path(self.path).name}, line {line or self.first_line}: "
        raise ConfigError(place + who + problem.removeprefix(who)) from cause

    def _last_line(self, error: Exception) -> tuple[int | None, str]:
        """The last line in the function's file that the error came through, and its text."""
        frames = traceback.extract_tb(error.__traceback__)
        through = [(frame.lineno, frame.line or "") for frame in frames if frame.filename == self.path]
        return through[-1] if through else (None, "")


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


def _explained(error: Exception, line: str) -> tuple[str, bool]:
    """What went wrong while the function ran over symbols and what to do, and whether that is all of it."""
    if isinstance(error, NameError) and error.name in VOCABULARY:
        return f"{error}: from holdfast.cells import {error.name}", True
    unbound = re.search(r"variable '(\w+)'", str(error)) if isinstance(error, UnboundLocalError) else None
    if unbound:
        name = unbound[1]
        return f"{name} is read before anything is assigned to it; an old {name} is an argument {name}", True
    frames = traceback.extract_tb(error.__traceback__)
    if frames[-1].filename == _SYMBOLS:
        return str(error), True
    foreign = [name for name in re.findall(r"\w\.(\w+)\(", line) if name in VOCABULARY]
    close = [*foreign, *difflib.get_close_matches(str(getattr(error, "name", "")), VOCABULARY, n=1)]
    hint = f" Did you mean {close[0]} of holdfast.cells?" if close else ""
    return (
        f"{type(error).__name__}: {error}.{hint} A cell is written over symbols, with + - * / **, "
        f"comparisons and, from holdfast.cells, {', '.join(VOCABULARY)}"
    ), isinstance(error, NameError)


def _equations_at(module: str, name: str) -> _Equations | None:
    """The equations of the cell of that name in a module."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    equations = getattr(found, "function", None)
    return equations if isinstance(equations, _Equations) else None
