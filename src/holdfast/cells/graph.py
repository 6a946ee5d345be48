"""The graph of one step: what enters R, the named values, what is carried on, and what else is fed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from holdfast.cells.expression import Expression, substituted, symbol


@dataclass(frozen=True)
class Draw:
    """A random mask that a step reads: true where a value is dropped, or where its old one is kept.

    Attributes:
        symbol: its name in the graph.
        value: the named value whose units it covers; it has that value's width.
        stream: the number that keeps it apart from the other masks of a call.
        probability: how often it is true.
        per_sequence: one mask for a whole sequence instead of one for each step.
    """

    symbol: str
    value: str
    stream: int
    probability: float
    per_sequence: bool = False


@dataclass(frozen=True)
class Graph:
    """One step as expressions.

    Attributes:
        values: the named values, in order; they are kept for the backward pass and shown by a trace.
        carried: the next value of each state; `values` of the same name unless the step may be padding.
        entering: what is multiplied by `weight_hh`: the old h, maybe with dropout.
        draws: the masks that the step reads.
        scalars: the numbers that the step reads, by symbol; they may change without new code.
        padded: whether the step reads `valid` and leaves the state alone where that is false.
        taps: the symbols whose gradients show the flow backwards; all zero.
        unkept: the symbols that the backward step does not have: pre-activations and biases.
    """

    values: Mapping[str, Expression]
    carried: Mapping[str, Expression]
    entering: Expression
    draws: tuple[Draw, ...] = ()
    scalars: Mapping[str, float] = field(default_factory=dict)
    padded: bool = False
    taps: tuple[str, ...] = ()
    unkept: frozenset[str] = frozenset()

    def with_value(self, name: str, value: Expression) -> Graph:
        """Another value under that name, carried too if it is a state; other values stay as they are.

        The old value gets a name of its own, `h_raw` for h, where the backward step could not compute it.
        """
        carried = {**self.carried, name: value} if name in self.carried else self.carried
        others = {other: node for other, node in self.values.items() if other != name}
        values = {**self.values, name: value}
        if not self._computable(self.values[name], dict.fromkeys(others.values(), True)):
            raw = {f"{name}_raw": self.values[name]}
            values = dict(
                pair
                for old in self.values
                for pair in ((raw if old == name else {}) | {old: values[old]}).items()
            )
        return replace(self, values=values, carried=carried)

    def _computable(self, node: Expression, known: dict[Expression, bool]) -> bool:
        """Whether the backward step has what the node is made of; `known` remembers the answers."""
        if node not in known:
            arguments = [self._computable(argument, known) for argument in node.args]
            known[node] = all(arguments) and not (node.op == "symbol" and node.name in self.unkept)
        return known[node]

    def with_later_uses(self, name: str, rewrite: Callable[[Expression], Expression]) -> Graph:
        """Every other value sees the rewritten one in the place of the value of that name.

        An earlier name for the very same value keeps it.
        """
        old, names = self.values[name], list(self.values)
        later = {old: rewrite(old)}
        earlier = {other for other in names[: names.index(name) + 1] if self.values[other] is old}
        values = {
            other: value if other in earlier else substituted(value, later)
            for other, value in self.values.items()
        }
        carried = {state: values[state] for state in self.carried}
        return replace(self, values=values, carried=carried)

    def with_symbols(self, replacements: Mapping[str, Expression]) -> Graph:
        """Inputs of the step replaced by expressions, everywhere."""
        nodes = {symbol(name): expression for name, expression in replacements.items()}
        values = {name: substituted(value, nodes) for name, value in self.values.items()}
        return replace(
            self,
            values=values,
            carried={state: substituted(value, nodes) for state, value in self.carried.items()},
            entering=substituted(self.entering, nodes),
        )

    def reading(self, *draws: Draw, **scalars: float) -> Graph:
        """The same step with more masks and numbers to read."""
        return replace(self, draws=(*self.draws, *draws), scalars={**self.scalars, **scalars})
