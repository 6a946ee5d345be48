"""A cell: one step of a recurrence as equations over symbols, and what can be derived from it.

Names of the symbols: `z_i` is the pre-activation of gate i (W x + R h + b); of a split gate `x_i` is W x,
`r_i` is R h, `b_i` the bias; `c_prev` is the state of the step before, `p_i` a parameter, `i` a value of this
step, and `d_x` the gradient of the loss to x. Modifiers add symbols of their own: see `Cell.inputs`.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from holdfast.cells.checks import check_declaration, check_names, check_values
from holdfast.cells.derivative import derivative
from holdfast.cells.expression import Expression, constant, symbol, symbols_of, where
from holdfast.cells.graph import Draw, Graph
from holdfast.cells.modifiers import ORDER, PROJECTION
from holdfast.cells.naming import cell_of, spec_of
from holdfast.cells.printers import latex_lines, torch_function

Modifier = tuple[str, tuple[float, ...]]
_MOST_VARIANTS = 64
_lock = threading.RLock()


@dataclass(frozen=True)
class Parameter:
    """A parameter of a cell besides the weight matrices and their biases: a vector, or a matrix.

    Attributes:
        name: its name in the layer; `_l{k}` and `_reverse` are appended there.
        feeds: the arguments of the cell's function that its row blocks `[H]` feed, in order; of a matrix,
            which the function reaches through `product`, the names of its row blocks.
        meaning: one line.
        columns: the column blocks of a matrix; 0 for a vector.
        start: its first value; None to draw it like the weight matrices.
    """

    name: str
    feeds: tuple[str, ...]
    meaning: str
    columns: int = 0
    start: float | None = None

    def shape(self, hidden_size: int) -> tuple[int, ...]:
        """`[len(feeds) * H]`, or `[len(feeds) * H, columns * H]` of a matrix."""
        rows = len(self.feeds) * hidden_size
        return (rows, self.columns * hidden_size) if self.columns else (rows,)


@dataclass(frozen=True)
class Cell:
    """A recurrent cell, defined by one plain function over symbols.

    The function's arguments are the gates' pre-activations (of a split gate three: `x_i`, `r_i`, `b_i`),
    then the states other than h (their values at the step before; `i_prev` where a gate is called so too),
    then the vector parameters' row blocks, in that order. It returns `named(...)` values; those named like
    a state are the next state, and h is the output.

    Attributes:
        name: what `cell=` calls it.
        function: the equations.
        gates: the row blocks of the weight matrices, in order.
        states: the names of what is carried from step to step, h first.
        parameters: what it has besides weight matrices and biases.
        references: where the equations come from.
        split: the gates whose input part, recurrent part and bias the function gets apart.
        modifiers: what was done to the equations, see `holdfast.cells.modifiers`.

    Raises:
        ConfigError: the declaration, the function's arguments and its results do not fit each other; see
            `holdfast.cells.checks`.
    """

    name: str
    function: Callable[..., dict[str, Expression]]
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    references: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    modifiers: tuple[Modifier, ...] = ()

    # Set once in __post_init__, so that reading them costs nothing and no compiler has to look inside.
    graph: ClassVar[Graph]
    plain_values: ClassVar[Mapping[str, Expression]]
    values: ClassVar[Mapping[str, Expression]]
    spec: ClassVar[str]
    _variants: ClassVar[dict[Modifier, Cell]]

    def __post_init__(self) -> None:
        check_declaration(self)
        values = self.function(*map(symbol, self.base_inputs))
        check_values(self, values)
        carried = {state: values[state] for state in self.states}
        graph = Graph(values, carried, symbol("h_prev"), unkept=self._unkept)
        for name, numbers in self.modifiers:
            graph = ORDER[name](graph, self, *numbers)
        self._set(plain_values=values, graph=graph, values=MappingProxyType(dict(graph.values)))
        self._set(spec=spec_of(self), _variants={})
        check_names(self)

    def _set(self, **attributes: object) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def of(spec: str) -> Cell:
        """The cell with that `spec`.

        Raises:
            ConfigError: its base was not defined in this process, or was defined otherwise.
        """
        return cell_of(spec)

    def __reduce__(self) -> tuple[Any, ...]:
        # The traced graph is rebuilt, not copied: nodes are shared by identity.
        return Cell, (
            self.name,
            self.function,
            self.gates,
            self.states,
            self.parameters,
            self.references,
            self.split,
            self.modifiers,
        )

    def __repr__(self) -> str:
        modifiers = "".join(f", {name}({', '.join(map(str, numbers))})" for name, numbers in self.modifiers)
        return f"<Cell {self.name}: gates {' '.join(self.gates)}, states {' '.join(self.states)}{modifiers}>"

    def modified(self, name: str, *numbers: float) -> Cell:
        """This cell with one more modifier, in the place of another of that name: see `cells.modifiers`."""
        own = name, tuple(map(float, numbers))
        with _lock:
            made = self._variants.get(own)
            if made is None:
                if len(self._variants) >= _MOST_VARIANTS:  # as where zoneout grows during training
                    del self._variants[next(iter(self._variants))]
                others = [modifier for modifier in self.modifiers if modifier[0] != name]
                order = list(ORDER)
                modifiers = sorted([*others, own], key=lambda modifier: order.index(modifier[0]))
                made = self._variants[own] = replace(self, modifiers=tuple(modifiers))
        return made

    def has(self, modifier: str) -> bool:
        """Whether the cell was modified so."""
        return any(name == modifier for name, _ in self.modifiers)

    @property
    def doc(self) -> str:
        """The docstring of the function."""
        return inspect.getdoc(self.function) or ""

    @property
    def draws(self) -> tuple[Draw, ...]:
        """The random masks that a step reads."""
        return self.graph.draws

    @property
    def vectors(self) -> tuple[Parameter, ...]:
        """The parameters whose row blocks are arguments of the function."""
        return tuple(parameter for parameter in self.parameters if not parameter.columns)

    @property
    def rows(self) -> tuple[str, ...]:
        """The row blocks of the vector parameters, in order."""
        return tuple(row for parameter in self.vectors for row in parameter.feeds)

    @property
    def matrices(self) -> tuple[str, ...]:
        """The matrices that the step multiplies by besides `weight_hh`."""
        own = tuple(parameter.name for parameter in self.parameters if parameter.columns)
        return (*own, PROJECTION) if self.has("project") else own

    @property
    def tapped(self) -> tuple[str, ...]:
        """What a gradient trace shows: the gates' pre-activations, and the states h and c."""
        return (*self.gates, *(state for state in self.states if state in {"h", "c"}))

    @property
    def arguments(self) -> list[str]:
        """What the function must take."""
        gates = [name.removeprefix("z_") for name in self.gate_inputs]
        states = [f"{state}_prev" if state in gates else state for state in self.states[1:]]
        return [*gates, *states, *self.rows]

    @property
    def gate_inputs(self) -> tuple[str, ...]:
        """The symbols of the pre-activations, gate by gate: `z_i`, or `x_i r_i b_i` of a split gate."""
        return tuple(
            name
            for gate in self.gates
            for name in ((f"x_{gate}", f"r_{gate}", f"b_{gate}") if gate in self.split else (f"z_{gate}",))
        )

    @property
    def base_inputs(self) -> tuple[str, ...]:
        """The symbols that the function is traced with."""
        return (*self.gate_inputs, *(f"{state}_prev" for state in self.states[1:]), *self.rows)

    @cached_property
    def _used(self) -> set[str]:
        return symbols_of([*self.values.values(), *self.graph.carried.values()])

    @cached_property
    def old_states(self) -> tuple[str, ...]:
        """The states whose value at the step before the step reads: all but mostly h."""
        return tuple(state for state in self.states if state != "h" or "h_prev" in self._used)

    @cached_property
    def fixed_inputs(self) -> tuple[str, ...]:
        """The symbols that are the same at each step: parameters, matrices, scalars, `h_start c_start`."""
        starts = (f"{state}_start" for state in self.states)
        return (*self.rows, *_among(self._used, (*self.matrices, *self.graph.scalars, *starts)))

    @cached_property
    def step_inputs(self) -> tuple[str, ...]:
        """The symbols that change from step to step: masks, `starts`, `valid`, taps."""
        return _among(self._used, self._step_symbols)

    @property
    def _step_symbols(self) -> tuple[str, ...]:
        return (*(draw.symbol for draw in self.draws), "starts", "valid", *self.graph.taps)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The symbols of one step, in order: `z_i ...`, `h_prev c_prev`, `fixed_inputs`, `step_inputs`."""
        old = (f"{state}_prev" for state in self.old_states)
        return (*self.gate_inputs, *old, *self.fixed_inputs, *self.step_inputs)

    @cached_property
    def entering_fixed(self) -> tuple[str, ...]:
        """Of what enters `weight_hh`, as `fixed_inputs`."""
        return _among(symbols_of([self.graph.entering]), (*self.graph.scalars, "h_start"))

    @cached_property
    def entering_steps(self) -> tuple[str, ...]:
        """Of what enters `weight_hh`, as `step_inputs`."""
        return _among(symbols_of([self.graph.entering]), self._step_symbols)

    @property
    def entering_inputs(self) -> tuple[str, ...]:
        """The symbols of what enters `weight_hh`, in order: `h_prev`, `entering_fixed`, `entering_steps`."""
        return ("h_prev", *self.entering_fixed, *self.entering_steps)

    @cached_property
    def gradients(self) -> Mapping[str, Expression]:
        """The backward step: `d_z_i`, `d_c_prev`, `d_p_i`, ... from `d_h`, `d_c`, which reach its state.

        Reads only named values, the state of the step before, the parts of split gates, and what else the
        step reads but for pre-activations and biases.
        """
        upstream: dict[Expression, Expression] = {}
        for state in self.states:
            node, gradient = self.values[state], symbol(f"d_{state}")
            if self.graph.padded:
                gradient = where(symbol("valid"), gradient, 0)
            upstream[node] = upstream[node] + gradient if node in upstream else gradient
        wanted = [symbol(name) for name in self.inputs if name not in self.graph.scalars]
        found = derivative(self.values, upstream, wanted, map(symbol, self._readable))
        gradients = {f"d_{node.name}": gradient for node, gradient in found.items()}
        if self.graph.padded:
            passing = {f"d_{state}_prev": constant(0) for state in self.states}
            gradients = {
                name: self._where_valid(name, gradient) for name, gradient in (passing | gradients).items()
            }
        return MappingProxyType(gradients)

    def _where_valid(self, name: str, gradient: Expression) -> Expression:
        """In padding the gradient of the state passes through and nothing else gets one."""
        if name.removeprefix("d_") in self.matrices:  # a sum over the batch, to which padding adds zeros
            return gradient
        old = {f"d_{state}_prev": state for state in self.states}
        passing = symbol(f"d_{old[name]}") if name in old else constant(0)
        return where(symbol("valid"), gradient, passing)

    @cached_property
    def entering_gradients(self) -> Mapping[str, Expression]:
        """The gradient of what enters `weight_hh`, `d_entering`, carried on to `d_h_prev` and `d_h_start`."""
        inputs = [symbol(name) for name in self.entering_inputs]
        wanted = [node for node in inputs if node.name in {"h_prev", "h_start"}]
        found = derivative({}, {self.graph.entering: symbol("d_entering")}, wanted, inputs)
        return MappingProxyType({f"d_{node.name}": gradient for node, gradient in found.items()})

    @property
    def _unkept(self) -> frozenset[str]:
        return frozenset(name for name in self.gate_inputs if name[0] in "zb")

    @cached_property
    def kept_parts(self) -> tuple[str, ...]:
        """The parts of split gates, which the backward step reads."""
        return tuple(name for name in self.gate_inputs if name[0] in "xr")

    @property
    def _readable(self) -> tuple[str, ...]:
        return (*self.kept_parts, *self.inputs[len(self.gate_inputs) :])

    @property
    def gradient_inputs(self) -> tuple[str, ...]:
        """What the backward step may read, in order: upstream gradients, values, and the readable inputs."""
        return (*(f"d_{state}" for state in self.states), *self.values, *self._readable)

    def torch_source(self) -> str:
        """Python source of one forward step over torch tensors.

        Takes `inputs`, returns `values` in order and then the next state, which differs from the values of
        that name only in padding.
        """
        carried = {f"{state}_next": value for state, value in self.graph.carried.items()}
        return torch_function(self.name, self.inputs, {**self.values, **carried})

    def torch_gradient_source(self) -> str:
        """Python source of one backward step: takes `gradient_inputs`, returns `gradients` in order."""
        return torch_function(f"{self.name}_backward", self.gradient_inputs, self.gradients)

    def torch_entering_source(self) -> str:
        """Source of what enters `weight_hh`: takes `entering_inputs`."""
        return torch_function(
            f"{self.name}_entering", self.entering_inputs, {"entering": self.graph.entering}
        )

    def torch_entering_gradient_source(self) -> str:
        """Source of its backward: takes `d_entering` and `entering_inputs`, returns `entering_gradients`."""
        arguments = ("d_entering", *self.entering_inputs)
        return torch_function(f"{self.name}_entering_backward", arguments, self.entering_gradients)

    def latex(self) -> str:
        """The equations of one step as a LaTeX `aligned` block."""
        return _aligned(latex_lines(self.values))

    def latex_gradients(self) -> str:
        """The derived equations of one backward step as a LaTeX `aligned` block."""
        return _aligned(latex_lines(self.gradients))


def _among(used: set[str], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name in used)


def _aligned(lines: list[str]) -> str:
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
