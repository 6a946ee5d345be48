"""The derivative of a step: reverse mode over expressions, reading only what the forward pass keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from holdfast.cells.expression import Expression, constant, item, ordered, symbol, where

Gradients = tuple[Expression | None, ...]
Rule = Callable[[Expression, tuple[Expression, ...], Expression], Gradients]
CutRule = Callable[[Expression, tuple[Expression, ...], Sequence[Expression]], Gradients]


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


def _normalise_rule(_y: Expression, args: tuple[Expression, ...], u: Sequence[Expression]) -> Gradients:
    back = Expression("normalise_backward", (*args, *u))
    return tuple(item(back, k) for k in range(len(args)))


def _product_rule(_y: Expression, args: tuple[Expression, ...], u: Sequence[Expression]) -> Gradients:
    matrix, *parts = args
    back = Expression("product_backward", (matrix, *u), value=float(len(parts)))
    outer = Expression("outer", (*u, *parts), value=float(len(u)))
    return (outer, *(item(back, k) for k in range(len(parts))))


# The cut points' rules take the upstream gradients of all their results. Their own derivatives are cut points
# too: normalise_backward(parts, upstreams), product_backward(matrix, upstreams), outer(upstreams, parts).
CUT_RULES: dict[str, CutRule] = {"normalise": _normalise_rule, "product": _product_rule}


def derivative(
    values: Mapping[str, Expression],
    upstream: Mapping[Expression, Expression],
    inputs: Iterable[Expression],
    readable: Iterable[Expression],
) -> dict[Expression, Expression]:
    """Reverse-mode derivative: the gradient of each input as an expression.

    Args:
        values: the named values of a cell. The result refers to them by name, as kept by the forward pass.
        upstream: the gradient that reaches each node from outside; nodes left out get none.
        inputs: the symbols whose gradients are wanted.
        readable: the symbols that the backward pass may read besides the named values.

    Returns:
        The gradient of each input that has one.

    Raises:
        ValueError: the derivative needs a value that is not named, readable or computable from those.
    """
    kept = _Kept(values, frozenset(readable))
    gradients: dict[Expression, Expression] = {}
    for node, gradient in upstream.items():
        _accumulate(gradients, node, gradient)
    for node in reversed(ordered([*values.values(), *upstream])):
        if not node.args or node.op.startswith("less"):
            continue
        if node.op in CUT_RULES:
            contributions = _cut_contributions(node, gradients, kept)
        elif node in gradients and node.op != "item":
            contributions = _contributions(node, [gradients[node]], kept)
        else:
            continue
        for argument, contribution in zip(node.args, contributions, strict=True):
            if contribution is not None and argument.op != "constant":
                _accumulate(gradients, argument, contribution)
    return {node: gradients[node] for node in inputs if node in gradients}


def kept_form(
    values: Mapping[str, Expression], readable: Iterable[Expression]
) -> Callable[[Expression], Expression | None]:
    """How `derivative` rewrites what the forward pass computed; None where nothing that is kept gives it."""
    kept = _Kept(values, frozenset(readable))

    def rewritten(node: Expression) -> Expression | None:
        try:
            return kept(node)
        except ValueError:
            return None

    return rewritten


def _accumulate(gradients: dict[Expression, Expression], node: Expression, gradient: Expression) -> None:
    gradients[node] = gradients[node] + gradient if node in gradients else gradient


class _Kept:
    """Rewrites forward expressions in terms of what the backward pass can read, only when asked for."""

    def __init__(self, values: Mapping[str, Expression], readable: frozenset[Expression]) -> None:
        named = {node: symbol(name) for name, node in reversed(list(values.items()))}
        self._known = {node: node for node in readable} | named

    def __call__(self, node: Expression) -> Expression:
        if node.op == "constant":
            return node
        if node.op == "symbol" and node not in self._known:
            raise ValueError(
                f"the derivative reads {node.name}, which the forward pass does not keep: give it a name"
            )
        if node not in self._known:
            arguments = tuple(map(self, node.args))
            self._known[node] = Expression(node.op, arguments, node.name, node.value)
        return self._known[node]


def _cut_contributions(
    node: Expression, gradients: Mapping[Expression, Expression], kept: _Kept
) -> Gradients:
    """What flows back through a cut point: nothing if none of its results is used."""
    count = int(node.value) if node.op == "product" else len(node.args)
    results = [item(node, k) for k in range(count)]
    if not any(result in gradients for result in results):
        return (None,) * len(node.args)
    return _contributions(node, [gradients.get(result, constant(0)) for result in results], kept)


def _contributions(node: Expression, upstream: Sequence[Expression], kept: _Kept) -> Gradients:
    """Apply the node's rule, rewriting afterwards only those arguments that the rule really used."""
    y = symbol("\0y")
    stand_ins = tuple(symbol(f"\0{k}") for k in range(len(node.args)))
    replace: dict[Expression, Expression] = {y: node, **dict(zip(stand_ins, node.args, strict=True))}
    done: dict[Expression, Expression] = {gradient: gradient for gradient in upstream}

    def rewrite(expression: Expression) -> Expression:
        if expression not in done:
            if expression in replace:
                done[expression] = kept(replace[expression])
            else:
                arguments = tuple(map(rewrite, expression.args))
                done[expression] = Expression(expression.op, arguments, expression.name, expression.value)
        return done[expression]

    if node.op in CUT_RULES:
        contributions = CUT_RULES[node.op](y, stand_ins, upstream)
    else:
        contributions = RULES[node.op](y, stand_ins, upstream[0])
    return tuple(
        None if contribution is None or argument.op == "constant" else rewrite(contribution)
        for argument, contribution in zip(node.args, contributions, strict=True)
    )
