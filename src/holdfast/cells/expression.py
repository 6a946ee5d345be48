"""A small graph of expressions over the values of one unit, built by ordinary Python operators.

Equal expressions are the same object (hash-consing), so a subexpression that is written twice is
computed once. All is pointwise but for two cut points, which sum over units and which each backend writes
once: `normalise` and `product`. They give several results; `item` takes one of them.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import ClassVar, NoReturn
from weakref import WeakValueDictionary

Number = int | float
_SHOWN_DEPTH = 4

# What an operation makes of numbers, so that no printed code has to.
_OF_NUMBERS: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sigmoid": lambda x: 0.5 + 0.5 * math.tanh(0.5 * x),
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "abs": abs,
    "maximum": max,
    "minimum": min,
}


class Expression:
    """One node: an operation and its arguments, or a symbol (`op == "symbol"`), or a constant.

    Build nodes with operators (`+ - * / < <= > >=` and unary minus) and the functions of this file,
    never directly: only then are equal expressions one object.
    """

    __slots__ = ("__weakref__", "args", "name", "op", "value")

    _known: ClassVar[WeakValueDictionary[tuple[object, ...], Expression]] = WeakValueDictionary()
    _lock: ClassVar[threading.RLock] = threading.RLock()

    op: str
    args: tuple[Expression, ...]
    name: str
    value: float

    def __new__(
        cls, op: str, args: tuple[Expression, ...] = (), name: str = "", value: float = 0.0
    ) -> Expression:
        if op in _OF_NUMBERS and all(argument.op == "constant" for argument in args):
            value = float(_OF_NUMBERS[op](*(argument.value for argument in args)))
            if not math.isfinite(value):
                raise OverflowError(f"{op} of {', '.join(map(repr, args))} is no finite number")
            op, args = "constant", ()
        if op == "where" and args[0].args and all(one.op == "constant" for one in args[0].args):
            a, b = (one.value for one in args[0].args)
            return args[1] if (a < b or (a == b and args[0].op == "less_equal")) else args[2]
        key = (op, tuple(map(id, args)), name, repr(value))
        with cls._lock:
            known = cls._known.get(key)
            if known is None:
                known = super().__new__(cls)
                known.op, known.args, known.name, known.value = op, args, name, value
                cls._known[key] = known
        return known

    def __add__(self, other: Expression | Number) -> Expression:
        return Expression("add", (self, lift(other)))

    def __radd__(self, other: Expression | Number) -> Expression:
        return Expression("add", (lift(other), self))

    def __sub__(self, other: Expression | Number) -> Expression:
        return Expression("sub", (self, lift(other)))

    def __rsub__(self, other: Number) -> Expression:
        return Expression("sub", (lift(other), self))

    def __mul__(self, other: Expression | Number) -> Expression:
        return Expression("mul", (self, lift(other)))

    def __rmul__(self, other: Number) -> Expression:
        return Expression("mul", (lift(other), self))

    def __truediv__(self, other: Expression | Number) -> Expression:
        divisor = lift(other)
        if divisor.op == "constant" and divisor.value == 0:
            raise ZeroDivisionError(f"{self!r} is divided by 0")
        return Expression("div", (self, divisor))

    def __rtruediv__(self, other: Number) -> Expression:
        return Expression("div", (lift(other), self))

    def __neg__(self) -> Expression:
        return Expression("neg", (self,))

    def __lt__(self, other: Expression | Number) -> Expression:
        return Expression("less", (self, lift(other)))

    def __le__(self, other: Expression | Number) -> Expression:
        return Expression("less_equal", (self, lift(other)))

    def __gt__(self, other: Expression | Number) -> Expression:
        return Expression("less", (lift(other), self))

    def __ge__(self, other: Expression | Number) -> Expression:
        return Expression("less_equal", (lift(other), self))

    def __pow__(self, power: int) -> Expression:
        if not isinstance(power, int) or not 1 <= power <= 8:
            raise TypeError(f"a symbol can be raised to the whole powers 1 to 8, got {power!r}")
        half = self ** (power // 2) if power > 1 else None
        square = self if half is None else half * half
        return square * self if half is not None and power % 2 else square

    def __abs__(self) -> Expression:
        return absolute(self)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"a symbol has no {name!r}: a cell is written unit by unit, with operators and the functions of "
            "holdfast.cells; only normalise and product sum over units"
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise TypeError("symbols cannot be compared by == or !=; compare by < <= > >= within where(...)")

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        what = "a comparison of symbols" if self.op.startswith("less") else "a symbol"
        raise TypeError(
            f"{what} has no truth value yet: choose with where(condition, a, b) in the place of if, and, or, "
            "not; with maximum and minimum in that of max and min"
        )

    def __repr__(self) -> str:
        return self._shown(_SHOWN_DEPTH)

    def _shown(self, depth: int) -> str:
        """As far down as that: what is shared below would be written out again and again."""
        if self.op == "symbol":
            return self.name
        if self.op == "constant":
            return repr(self.value)
        if depth == 0:
            return "..."
        return f"{self.op}({', '.join(argument._shown(depth - 1) for argument in self.args)})"


def symbol(name: str) -> Expression:
    """An input or an already computed value, known by its name only."""
    return Expression("symbol", name=name)


def constant(value: Number) -> Expression:
    """A fixed number.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"a number in a cell must be finite, got {value!r}")
    return Expression("constant", value=float(value))


def lift(value: Expression | Number) -> Expression:
    """The value itself if it is an expression, else a constant.

    Raises:
        TypeError: it is neither an expression nor a number.
    """
    if isinstance(value, Expression):
        return value
    if not isinstance(value, Real):
        raise TypeError(f"a symbol or a number is needed here, got {_described(value)}")
    return constant(float(value))


def _described(value: object) -> str:
    """What stands where a symbol should, and what to do."""
    if isinstance(value, tuple | list) and any(isinstance(part, Expression) for part in value):
        return (
            f"a {type(value).__name__} of {len(value)}: normalise and product give tuples; unpack them: "
            "(n,) = normalise(c)"
        )
    if isinstance(value, str):
        return f"the text {value!r}: what a cell computes with is an argument of its function"
    if hasattr(value, "shape"):
        return f"a {type(value).__name__}: what a layer shall learn is an argument with a first value, a=0.1"
    return repr(value)


def exp(x: Expression | Number) -> Expression:
    """e to the power x."""
    return Expression("exp", (lift(x),))


def log(x: Expression | Number) -> Expression:
    """The natural logarithm."""
    return Expression("log", (lift(x),))


def sqrt(x: Expression | Number) -> Expression:
    """The square root."""
    return Expression("sqrt", (lift(x),))


def sigmoid(x: Expression | Number) -> Expression:
    """1 / (1 + exp(-x))."""
    return Expression("sigmoid", (lift(x),))


def tanh(x: Expression | Number) -> Expression:
    """The hyperbolic tangent."""
    return Expression("tanh", (lift(x),))


def relu(x: Expression | Number) -> Expression:
    """The larger of x and 0; its derivative at 0 is 0."""
    return Expression("relu", (lift(x),))


def absolute(x: Expression | Number) -> Expression:
    """|x|, whose derivative at 0 is 0."""
    return Expression("abs", (lift(x),))


def maximum(a: Expression | Number, b: Expression | Number) -> Expression:
    """The larger of two; on a tie, or where one is NaN, `a` is taken and gets the gradient."""
    return Expression("maximum", (lift(a), lift(b)))


def minimum(a: Expression | Number, b: Expression | Number) -> Expression:
    """The smaller of two; on a tie, or where one is NaN, `a` is taken and gets the gradient."""
    return Expression("minimum", (lift(a), lift(b)))


def where(condition: Expression, a: Expression | Number, b: Expression | Number) -> Expression:
    """`a` where the comparison holds, else `b`; only the taken one gets the gradient."""
    if not isinstance(condition, Expression):
        raise TypeError(f"where takes a comparison first: where(c < 0, ..., ...), got {condition!r}")
    return Expression("where", (condition, lift(a), lift(b)))


def normalise(*parts: Expression) -> tuple[Expression, ...]:
    """The parts, joined, shifted to mean 0 and scaled to variance 1 over all their units (eps 1e-5).

    The mean and variance of layer normalisation (Ba, Kiros and Hinton 2016), without gain and bias.
    """
    if not parts:
        raise TypeError("normalise takes the parts to normalise: (n,) = normalise(c)")
    return _items(Expression("normalise", tuple(map(lift, parts))), len(parts))


def product(parameter: str, *parts: Expression, blocks: int = 1) -> tuple[Expression, ...]:
    """The matrix parameter of that name times the parts, joined: as many row blocks as `blocks`."""
    if not isinstance(parameter, str) or not parts or not isinstance(blocks, int) or blocks < 1:
        raise TypeError(
            "product takes the name of a matrix parameter, the parts and blocks=, how many results it gives: "
            f"(a,) = product('weight_c', c); got {parameter!r}, {len(parts)} parts, blocks={blocks!r}"
        )
    node = Expression("product", (symbol(parameter), *map(lift, parts)), value=float(blocks))
    return _items(node, blocks)


def _items(results: Expression, count: int) -> tuple[Expression, ...]:
    return tuple(item(results, k) for k in range(count))


def item(results: Expression, k: int) -> Expression:
    """The k-th of the results of a cut point."""
    return Expression("item", (results,), value=float(k))


def named(**values: Expression | Number) -> dict[str, Expression]:
    """What a cell returns: its values by name, in the order in which they are computed."""
    return {name: lift(value) for name, value in values.items()}


def substituted(root: Expression, replacements: Mapping[Expression, Expression]) -> Expression:
    """The expression with nodes replaced; what a replacement holds is left as it is."""
    done = dict(replacements)

    def visit(node: Expression) -> Expression:
        if node not in done:
            # Where nothing below was replaced, this is the node itself.
            done[node] = Expression(node.op, tuple(map(visit, node.args)), node.name, node.value)
        return done[node]

    return visit(root)


def symbols_of(roots: Iterable[Expression]) -> set[str]:
    """The names of all symbols below the roots."""
    return {node.name for node in ordered(roots) if node.op == "symbol"}


def ordered(roots: Iterable[Expression]) -> list[Expression]:
    """Every node below the roots once, arguments before the nodes that use them."""
    seen: dict[Expression, None] = {}

    def visit(node: Expression) -> None:
        if node not in seen:
            for argument in node.args:
                visit(argument)
            seen[node] = None

    for root in roots:
        visit(root)
    return list(seen)
