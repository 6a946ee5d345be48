"""A small graph of pointwise expressions, built by ordinary Python operators, and its derivative.

Equal expressions are the same object (hash-consing), so a subexpression that is written twice is
computed once. Sums over units do not occur here: everything is pointwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar
from weakref import WeakValueDictionary

Number = int | float


class Expression:
    """One node: an operation and its arguments, or a symbol (`op == "symbol"`), or a constant.

    Build nodes with operators (`+ - * / < <= > >=` and unary minus) and the functions of this file,
    never directly: only then are equal expressions one object.
    """

    __slots__ = ("__weakref__", "args", "name", "op", "value")

    _known: ClassVar[WeakValueDictionary[tuple[object, ...], Expression]] = WeakValueDictionary()

    op: str
    args: tuple[Expression, ...]
    name: str
    value: float

    def __new__(
        cls, op: str, args: tuple[Expression, ...] = (), name: str = "", value: float = 0.0
    ) -> Expression:
        key = (op, args, name, repr(value))
        known = cls._known.get(key)
        if known is None:
            known = super().__new__(cls)
            known.op, known.args, known.name, known.value = op, args, name, value
            cls._known[key] = known
        return known

    def __add__(self, other: Expression | Number) -> Expression:
        return Expression("add", (self, lift(other)))

    def __radd__(self, other: Number) -> Expression:
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
        return Expression("div", (self, lift(other)))

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

    def __bool__(self) -> bool:
        raise TypeError("a comparison of symbols has no truth value yet; choose with where(condition, a, b)")

    def __repr__(self) -> str:
        if self.op == "symbol":
            return self.name
        if self.op == "constant":
            return repr(self.value)
        return f"{self.op}({', '.join(map(repr, self.args))})"


def symbol(name: str) -> Expression:
    """An input or an already computed value, known by its name only."""
    return Expression("symbol", name=name)


def constant(value: Number) -> Expression:
    """A fixed number."""
    return Expression("constant", value=float(value))


def lift(value: Expression | Number) -> Expression:
    """The value itself if it is an expression, else a constant."""
    return value if isinstance(value, Expression) else constant(value)


def exp(x: Expression) -> Expression:
    """e to the power x."""
    return Expression("exp", (x,))


def log(x: Expression) -> Expression:
    """The natural logarithm."""
    return Expression("log", (x,))


def sqrt(x: Expression) -> Expression:
    """The square root."""
    return Expression("sqrt", (x,))


def sigmoid(x: Expression) -> Expression:
    """1 / (1 + exp(-x))."""
    return Expression("sigmoid", (x,))


def tanh(x: Expression) -> Expression:
    """The hyperbolic tangent."""
    return Expression("tanh", (x,))


def relu(x: Expression) -> Expression:
    """The larger of x and 0; its derivative at 0 is 0."""
    return Expression("relu", (x,))


def absolute(x: Expression) -> Expression:
    """|x|, whose derivative at 0 is 0."""
    return Expression("abs", (x,))


def maximum(a: Expression | Number, b: Expression | Number) -> Expression:
    """The larger of two; on a tie, or where one is NaN, `a` is taken and gets the gradient."""
    return Expression("maximum", (lift(a), lift(b)))


def minimum(a: Expression | Number, b: Expression | Number) -> Expression:
    """The smaller of two; on a tie, or where one is NaN, `a` is taken and gets the gradient."""
    return Expression("minimum", (lift(a), lift(b)))


def where(condition: Expression, a: Expression | Number, b: Expression | Number) -> Expression:
    """`a` where the comparison holds, else `b`; only the taken one gets the gradient."""
    return Expression("where", (condition, lift(a), lift(b)))


def named(**values: Expression) -> dict[str, Expression]:
    """What a cell returns: its values by name, in the order in which they are computed."""
    return values


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


Gradients = tuple[Expression | None, ...]
Rule = Callable[[Expression, tuple[Expression, ...], Expression], Gradients]


def _abs_rule(_y: Expression, args: tuple[Expression, ...], u: Expression) -> Gradients:
    (x,) = args
    return (where(x < 0, -u, where(constant(0) < x, u, 0)),)


# Each rule takes the node's value y, its arguments and the upstream gradient u, and prefers y to the
# arguments: the value of a gate is kept for the backward pass, its pre-activation is not.
RULES: dict[str, Rule] = {
    "add": lambda y, args, u: (u, u),
    "sub": lambda y, args, u: (u, -u),
    "mul": lambda y, args, u: (u * args[1], u * args[0]),
    "div": lambda y, args, u: (u / args[1], -(u * y / args[1])),
    "neg": lambda y, args, u: (-u,),
    "exp": lambda y, args, u: (u * y,),
    "log": lambda y, args, u: (u / args[0],),
    "sqrt": lambda y, args, u: (u / (2 * y),),
    "sigmoid": lambda y, args, u: (u * (y * (1 - y)),),
    "tanh": lambda y, args, u: (u * (1 - y * y),),
    "relu": lambda y, args, u: (where(constant(0) < y, u, 0),),
    "abs": _abs_rule,
    "maximum": lambda y, args, u: (where(args[0] < args[1], 0, u), where(args[0] < args[1], u, 0)),
    "minimum": lambda y, args, u: (where(args[1] < args[0], 0, u), where(args[1] < args[0], u, 0)),
    "where": lambda y, args, u: (None, where(args[0], u, 0), where(args[0], 0, u)),
}


def derivative(
    values: Mapping[str, Expression],
    upstream: Mapping[str, Expression],
    inputs: Iterable[Expression],
    readable: Iterable[Expression],
) -> dict[Expression, Expression]:
    """Reverse-mode derivative: the gradient of each input as an expression.

    Args:
        values: the named values of a cell. The result refers to them by name, as kept by the forward pass.
        upstream: the gradient that reaches each named value from outside; values left out get none.
        inputs: the symbols whose gradients are wanted.
        readable: the symbols that the backward pass may read besides the named values.

    Returns:
        The gradient of each input that has one.

    Raises:
        ValueError: the derivative needs a value that is not named, readable or computable from those.
    """
    kept = _Kept(values, frozenset(readable))
    gradients: dict[Expression, Expression] = {}
    for name, gradient in upstream.items():
        _accumulate(gradients, values[name], gradient)
    for node in reversed(ordered(values.values())):
        if node not in gradients or not node.args or node.op.startswith("less"):
            continue
        contributions = _contributions(node, gradients[node], kept)
        for argument, contribution in zip(node.args, contributions, strict=True):
            if contribution is not None and argument.op != "constant":
                _accumulate(gradients, argument, contribution)
    return {node: gradients[node] for node in inputs if node in gradients}


def _accumulate(gradients: dict[Expression, Expression], node: Expression, gradient: Expression) -> None:
    gradients[node] = gradients[node] + gradient if node in gradients else gradient


class _Kept:
    """Rewrites forward expressions in terms of what the backward pass can read, only when asked for."""

    def __init__(self, values: Mapping[str, Expression], readable: frozenset[Expression]) -> None:
        self._names = {node: name for name, node in reversed(list(values.items()))}
        self._readable = readable

    def __call__(self, node: Expression) -> Expression:
        if node in self._names:
            return symbol(self._names[node])
        if node.op == "constant" or node in self._readable:
            return node
        if node.op == "symbol":
            raise ValueError(
                f"the derivative reads {node.name}, which the forward pass does not keep: give it a name"
            )
        return Expression(node.op, tuple(map(self, node.args)))


def _contributions(node: Expression, gradient: Expression, kept: _Kept) -> Gradients:
    """Apply the node's rule, rewriting afterwards only those arguments that the rule really used."""
    y = symbol("\0y")
    stand_ins = tuple(symbol(f"\0{k}") for k in range(len(node.args)))
    replace: dict[Expression, Expression] = {y: node, **dict(zip(stand_ins, node.args, strict=True))}
    done: dict[Expression, Expression] = {gradient: gradient}

    def rewrite(expression: Expression) -> Expression:
        if expression not in done:
            if expression in replace:
                done[expression] = kept(replace[expression])
            else:
                arguments = tuple(map(rewrite, expression.args))
                done[expression] = Expression(expression.op, arguments, expression.name, expression.value)
        return done[expression]

    contributions = RULES[node.op](y, stand_ins, gradient)
    return tuple(None if contribution is None else rewrite(contribution) for contribution in contributions)
