"""Turns expressions into source text: torch and LaTeX; other languages add one table each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from holdfast.cells.expression import Expression, ordered, symbol

ATOM = 100
SUM, PRODUCT, UNARY = 10, 20, 30


@dataclass(frozen=True)
class Assignment:
    """One line of a straight-line program: `name = expression`."""

    name: str
    expression: Expression


def schedule(values: Mapping[str, Expression]) -> list[Assignment]:
    """Order named values into a straight-line program in which each one may use those before it.

    Args:
        values: the wanted values by name.

    Returns:
        The assignments. A value that is the same expression as an earlier one just refers to it; every other
        subexpression that is used more than once has a name of its own, `t1`, `t2`, ..., without those that
        the values or the symbols in them are called already.
    """
    nodes = ordered(values.values())
    names = _names(values, nodes)
    lines: list[Assignment] = []
    replaced: dict[Expression, Expression] = {}
    for node in nodes:
        arguments = tuple(replaced[argument] for argument in node.args)
        replaced[node] = Expression(node.op, arguments, node.name, node.value)
        if node in names and node.args:
            lines.append(Assignment(names[node], replaced[node]))
            replaced[node] = symbol(names[node])
    written = {line.name for line in lines}
    lines += [Assignment(name, replaced[node]) for name, node in values.items() if name not in written]
    return lines


def _names(values: Mapping[str, Expression], nodes: Sequence[Expression]) -> dict[Expression, str]:
    # The text of a maximum or minimum holds its arguments twice.
    uses = Counter(
        argument for node in nodes for argument in node.args * (1 + (node.op in {"maximum", "minimum"}))
    )
    given = {node: name for name, node in reversed(list(values.items()))}
    deep = _too_deep(nodes, given)
    shared = [n for n in nodes if n.args and n not in given and (uses[n] > 1 or n in deep)]
    taken = {*values, *(node.name for node in nodes if node.op == "symbol")}
    free = (name for name in (f"t{number}" for number in count(1)) if name not in taken)
    return given | dict(zip(shared, free, strict=False))


# After how many arguments the second list of each cut point begins.
CUTS: Mapping[str, Callable[[Expression], int]] = {
    "normalise": lambda node: len(node.args),
    "normalise_backward": lambda node: len(node.args) // 2,
    "product": lambda node: 1,
    "product_backward": lambda node: 1,
    "outer": lambda node: int(node.value),
}


def _of_two_numbers(choice: Expression) -> bool:
    condition, *others = choice.args
    return bool(condition.args) and all(other.op == "constant" for other in others)


def _only_result(cut: Expression) -> bool:
    """Whether a cut point has one result, which then needs no number."""
    counts = {"normalise": 1, "normalise_backward": 2}
    return cut.value == 1 if "product" in cut.op else len(cut.args) == counts.get(cut.op)


_DEEPEST = 40


def _too_deep(nodes: Sequence[Expression], given: Mapping[Expression, str]) -> set[Expression]:
    """Every so many levels one that needs a name: compilers take only so many brackets in each other."""
    depths: dict[Expression, int] = {}
    deep = set()
    for node in nodes:
        depth = 1 + max((depths[argument] for argument in node.args), default=0)
        if depth > _DEEPEST and node.op != "item":
            deep.add(node)
        depths[node] = 0 if node in deep or node in given else depth
    return deep


@dataclass(frozen=True)
class Language:
    """How one language writes a symbol, a number and each operation.

    An operation maps to a template over its arguments (`"{0} + {1}"`), the binding strength of the
    result, and the least binding strength that each argument needs to stand without brackets. A cut point's
    template is over its two lists of arguments and its number; an item's over its cut point and its number.
    """

    symbol: Callable[[str], str]
    number: Callable[[float], str]
    operations: Mapping[str, tuple[str, int, tuple[int, ...]]]
    brackets: tuple[str, str] = ("(", ")")
    first_item: int = 0
    bare_item: bool = False
    where_numbers: str = ""

    def render(self, expression: Expression) -> str:
        """The source text of one expression."""
        return self._render(expression)[0]

    def _render(self, expression: Expression) -> tuple[str, int]:
        if expression.op == "symbol":
            return self.symbol(expression.name), ATOM
        if expression.op == "constant":
            return self.number(expression.value), ATOM if expression.value >= 0 else UNARY
        template, strength, needed = self.operations[expression.op]
        if expression.op == "where" and self.where_numbers and _of_two_numbers(expression):
            return self._render_where_numbers(expression), ATOM
        if expression.op == "item" and self.bare_item and _only_result(expression.args[0]):
            return self._render(expression.args[0])
        if expression.op in CUTS:
            return self._render_cut(expression, template), strength
        arguments = []
        for argument, least in zip(expression.args, needed, strict=True):
            text, own = self._render(argument)
            arguments.append(text if own >= least else f"{self.brackets[0]}{text}{self.brackets[1]}")
        if expression.op == "item":
            arguments.append(str(int(expression.value) + self.first_item))
        return template.format(*arguments), strength

    def _render_where_numbers(self, expression: Expression) -> str:
        """A choice between two numbers has the type of what is compared."""
        condition, a, b = expression.args
        compared = next(argument for argument in condition.args if argument.op != "constant")
        texts = [self._render(argument)[0] for argument in (condition, a, b, compared)]
        return self.where_numbers.format(*texts)

    def _render_cut(self, expression: Expression, template: str) -> str:
        """A cut point's arguments fall into two lists: see `CUTS`."""
        texts = [self._render(argument)[0] for argument in expression.args]
        split = CUTS[expression.op](expression)
        lists = (", ".join(texts[:split]), ", ".join(texts[split:]))
        return template.format(*lists, int(expression.value))


def infix(
    sign: str, product: str, quotient: tuple[str, int, tuple[int, ...]]
) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    """What languages have in common: the operations between their arguments, `+ - *`, `/` and comparisons."""
    return {
        "add": (f"{{0}} {sign} {{1}}", SUM, (SUM, SUM + 1)),
        "sub": ("{0} - {1}", SUM, (SUM, SUM + 1)),
        "mul": (product, PRODUCT, (PRODUCT, PRODUCT + 1)),
        "div": quotient,
        "neg": ("-{0}", UNARY, (UNARY,)),
        "less": ("{0} < {1}", 0, (SUM, SUM)),
        "less_equal": ("{0} <= {1}", 0, (SUM, SUM)),
    }


TORCH = Language(
    symbol=str,
    number=repr,
    operations={
        **infix("+", "{0} * {1}", ("{0} / {1}", PRODUCT, (PRODUCT, PRODUCT + 1))),
        **{
            op: (f"torch.{op}({{0}})", ATOM, (0,))
            for op in ("exp", "log", "sqrt", "sigmoid", "tanh", "relu", "abs")
        },
        # torch.maximum would share the gradient of a tie; these give it to the first argument.
        "maximum": ("torch.where({0} < {1}, {1}, {0})", ATOM, (SUM, SUM)),
        "minimum": ("torch.where({1} < {0}, {1}, {0})", ATOM, (SUM, SUM)),
        "where": ("torch.where({0}, {1}, {2})", ATOM, (0, 0, 0)),
        # The cut points are functions that whoever runs the code provides.
        "item": ("{0}[{1}]", ATOM, (ATOM,)),
        "normalise": ("normalise(({0},))", ATOM, ()),
        "normalise_backward": ("normalise_backward(({0},), ({1},))", ATOM, ()),
        "product": ("product({0}, ({1},), {2})", ATOM, ()),
        "product_backward": ("product_backward({0}, ({1},), {2})", ATOM, ()),
        "outer": ("outer(({0},), ({1},))", ATOM, ()),
    },
    # Two Python numbers would come in PyTorch's default type.
    where_numbers="torch.where({0}, torch.full_like({3}, {1}), {2})",
)


def torch_function(name: str, arguments: Sequence[str], values: Mapping[str, Expression]) -> str:
    """Source of a Python function over torch tensors that returns the values as a tuple, in order."""
    lines = [f"def {name}({', '.join(arguments)}):"]
    lines += [f"    {line.name} = {TORCH.render(line.expression)}" for line in schedule(values)]
    result = ", ".join(values) + ("," if len(values) == 1 else "")
    return "\n".join([*lines, f"    return ({result})", ""])


_GREEK = {"alpha", "beta", "gamma"}


def _latex_symbol(name: str) -> str:
    """z_i: a pre-activation; c_prev: the step before; d_x: a gradient; p_i: a parameter; c: a value."""
    if name.startswith("d_"):
        return rf"\partial {_latex_symbol(name[2:])}"
    if name.endswith("_prev"):
        return f"{name.removesuffix('_prev')}_{{t-1}}"
    if name.startswith("z_"):
        return rf"\hat{{{name[2:]}}}_t"
    head, _, tail = name.partition("_")
    if head == "weight":
        return rf"W_{{\mathrm{{{tail}}}}}"
    head = rf"\{head}" if head in _GREEK else head
    temporary = re.fullmatch(r"t(\d+)", head)
    if temporary:
        return f"u_{{{temporary[1]}}}"
    return f"{head}_{{{tail}}}" if tail else f"{head}_t"


def _function(command: str) -> tuple[str, int, tuple[int, ...]]:
    return rf"{command}\left({{0}}\right)", ATOM, (0,)


LATEX = Language(
    symbol=_latex_symbol,
    number=lambda value: f"{value:g}",
    operations={
        **infix("+", r"{0} \odot {1}", (r"\frac{{{0}}}{{{1}}}", ATOM, (0, 0))),
        "exp": _function(r"\exp"),
        "log": _function(r"\log"),
        "sqrt": (r"\sqrt{{{0}}}", ATOM, (0,)),
        "sigmoid": _function(r"\sigma"),
        "tanh": _function(r"\tanh"),
        "relu": _function(r"\operatorname{{relu}}"),
        "abs": (r"\left|{0}\right|", ATOM, (0,)),
        "maximum": (r"\max\left({0}, {1}\right)", ATOM, (0, 0)),
        "minimum": (r"\min\left({0}, {1}\right)", ATOM, (0, 0)),
        "less_equal": (r"{0} \le {1}", 0, (SUM, SUM)),
        "where": (r"\left[{0}\ ?\ {1} : {2}\right]", ATOM, (0, 0, 0)),
        "item": (r"{{{0}}}_{{[{1}]}}", ATOM, (ATOM,)),
        "normalise": (r"\operatorname{{N}}\left({0}\right)", ATOM, ()),
        "normalise_backward": (r"\operatorname{{N}}'\left({0};\ {1}\right)", ATOM, ()),
        "product": (r"{0} \left[{1}\right]", PRODUCT, ()),
        "product_backward": (r"{0}^{{\top}} \left[{1}\right]", ATOM, ()),
        "outer": (r"\left[{0}\right] \left[{1}\right]^{{\top}}", ATOM, ()),
    },
    brackets=(r"\left(", r"\right)"),
    first_item=1,
    bare_item=True,
)


def latex_lines(values: Mapping[str, Expression]) -> list[str]:
    """One LaTeX equation per named value (and per shared subexpression), in order, with `&=` to align on."""
    return [f"{LATEX.symbol(line.name)} &= {LATEX.render(line.expression)}" for line in schedule(values)]
