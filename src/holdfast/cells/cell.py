"""A cell: one step of a recurrence as an equation over symbols, and what can be derived from it.

Names of the symbols: `z_i` is the pre-activation of gate i (W x + R h + b), `c_prev` the state of the
step before, `p_i` a parameter, `i` a value of this step, and `d_x` the gradient of the loss to x.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from keyword import iskeyword
from types import MappingProxyType
from typing import Any

from holdfast.cells.expression import Expression, derivative, symbol
from holdfast.cells.printers import latex_lines, torch_function
from holdfast.errors import ConfigError


@dataclass(frozen=True)
class Parameter:
    """A parameter vector of a cell besides the weight matrices and their biases.

    Attributes:
        name: its name in the layer; `_l{k}` and `_reverse` are appended there.
        feeds: the arguments of the cell's function that its row blocks `[H]` feed, in order.
        meaning: one line.
    """

    name: str
    feeds: tuple[str, ...]
    meaning: str

    def shape(self, hidden_size: int) -> tuple[int, ...]:
        """`[len(feeds) * H]`."""
        return (len(self.feeds) * hidden_size,)


@dataclass(frozen=True)
class Cell:
    """A recurrent cell, defined by one plain function over symbols.

    The function's arguments are the gates (their pre-activations), then the states other than h
    (their values at the step before), then the parameters' row blocks, in that order. It returns
    `named(...)` values; those named like a state are the next state, and h is the output.

    Attributes:
        name: what `cell=` calls it.
        function: the equations.
        gates: the row blocks of the weight matrices, in order.
        states: the names of what is carried from step to step, h first.
        parameters: what it has besides weight matrices and biases.
        references: where the equations come from.

    Raises:
        ConfigError: the name cannot name a function, the function's arguments or results do not fit the
            declaration, or one of its values is called like something else in the step.
    """

    name: str
    function: Callable[..., dict[str, Expression]]
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    references: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _nameable(self.name):
            raise ConfigError(
                f"cell {self.name!r}: its name must be a Python identifier other than a keyword or torch, "
                "since code is printed from it"
            )
        declared = [
            *self.gates,
            *self.states[1:],
            *(row for parameter in self.parameters for row in parameter.feeds),
        ]
        arguments = list(inspect.signature(self.function).parameters)
        if self.states[:1] != ("h",):
            raise ConfigError(f"cell {self.name!r}: the first state must be h, got states {self.states}")
        if arguments != declared:
            raise ConfigError(f"cell {self.name!r}: its function must take {declared}, got {arguments}")
        missing = [state for state in self.states if state not in self.values]
        if missing:
            raise ConfigError(
                f"cell {self.name!r}: its function names no next value for the state {missing[0]!r}"
            )
        self._check_value_names()

    def _check_value_names(self) -> None:
        """In printed code one name must not stand for two things."""
        gradients = (f"d_{name}" for name in (*self.states, *self.inputs))
        taken = {*self.inputs, *gradients}
        for name in self.values:
            if name in taken or not _nameable(name):
                raise ConfigError(
                    f"cell {self.name!r}: a value is called {name!r}, which its step cannot use as a name; "
                    f"it needs a Python identifier other than torch and {', '.join(sorted(taken))}"
                )
        if len(set(self.inputs)) < len(self.inputs):
            raise ConfigError(f"cell {self.name!r}: its step has one name for two inputs: {self.inputs}")

    def __reduce__(self) -> tuple[Any, ...]:
        # The traced graph is rebuilt, not copied: nodes are shared by identity.
        return Cell, (self.name, self.function, self.gates, self.states, self.parameters, self.references)

    @property
    def doc(self) -> str:
        """The docstring of the function."""
        return inspect.getdoc(self.function) or ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The symbols of one step, in the order of the function's arguments: `z_i ... c_prev ... p_i ...`."""
        return (
            *(f"z_{gate}" for gate in self.gates),
            *(f"{state}_prev" for state in self.states[1:]),
            *(row for parameter in self.parameters for row in parameter.feeds),
        )

    @cached_property
    def values(self) -> Mapping[str, Expression]:
        """The named values as expressions over `inputs`, traced once, in order."""
        return MappingProxyType(self.function(*map(symbol, self.inputs)))

    @cached_property
    def gradients(self) -> Mapping[str, Expression]:
        """The backward step: `d_z_i`, `d_c_prev`, `d_p_i`, ... from `d_h`, `d_c`, which reach its state.

        Reads only named values, the state of the step before and parameters.
        """
        inputs = [symbol(name) for name in self.inputs]
        found = derivative(
            self.values,
            {state: symbol(f"d_{state}") for state in self.states},
            inputs,
            readable=inputs[len(self.gates) :],
        )
        return MappingProxyType({f"d_{node.name}": gradient for node, gradient in found.items()})

    @property
    def gradient_inputs(self) -> tuple[str, ...]:
        """What the backward step may read, in order: upstream gradients, values, old states, parameters."""
        return (*(f"d_{state}" for state in self.states), *self.values, *self.inputs[len(self.gates) :])

    def torch_source(self) -> str:
        """Python source of one forward step over torch tensors: takes `inputs`, returns `values` in order."""
        return torch_function(self.name, self.inputs, self.values)

    def torch_gradient_source(self) -> str:
        """Python source of one backward step: takes `gradient_inputs`, returns `gradients` in order."""
        return torch_function(f"{self.name}_backward", self.gradient_inputs, self.gradients)

    def latex(self) -> str:
        """The equations of one step as a LaTeX `aligned` block."""
        return _aligned(latex_lines(self.values, share=False))

    def latex_gradients(self) -> str:
        """The derived equations of one backward step as a LaTeX `aligned` block."""
        return _aligned(latex_lines(self.gradients))


def _nameable(name: str) -> bool:
    """Whether printed code can call something so; `torch` is what it calls into."""
    return name.isidentifier() and not iskeyword(name) and name != "torch"


def _aligned(lines: list[str]) -> str:
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
