"""Cut points apart from the pointwise rest of a step: what a row is summed or multiplied to, and when.

A lowered step is pointwise over its symbols, of which some are only there once a cut is done: the mean of a
row, the result of a product. In this form a step can be laid out in stages, see `holdfast.cells.staged`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.cells.cell import Cell
from holdfast.cells.derivative import kept_form
from holdfast.cells.expression import Expression, constant, item, ordered, substituted, symbol
from holdfast.cells.modifiers import PROJECTION

_ZERO = constant(0)


@dataclass(frozen=True)
class Leaf:
    """What a symbol of a lowered step stands for.

    Attributes:
        array: where it lies: gate, bias, old, parameter, scalar, mask, value, upstream, number, sum or slot.
        place: its place there; a slot has none yet.
        narrow: whether it has the width of a projected h; None of a number that all units share.
    """

    array: str
    place: int
    narrow: bool | None


@dataclass(frozen=True, eq=False)
class CutPoint:
    """What is done with whole rows between two stages.

    Attributes:
        kind: normalise, mean, product, product_back or outer.
        target: the first number of `normalise`, the sum of `mean`, the place of the matrix of the others.
        parts: what is normalised or multiplied; of `outer` the gradients; of `mean` what its sum adds up.
        narrow: whether the parts have the width of a projected h.
        results: the symbols that are there once it is done.
        others: the parts of the product whose matrix `outer` gives the gradient of.
        count: how many widths of a row `mean` divides by.
    """

    kind: str
    target: int
    parts: tuple[Expression, ...]
    narrow: bool
    results: tuple[str, ...] = ()
    others: tuple[Expression, ...] = ()
    count: int = 0


@dataclass(frozen=True, eq=False)
class Store:
    """A result of a step, the array and place where it goes, and whether it is as wide as a projected h."""

    name: str
    array: str
    place: int
    value: Expression
    narrow: bool


@dataclass(frozen=True)
class Lowered:
    """A step forward or backward: its results, its cuts so that each follows those it needs, its symbols."""

    stores: tuple[Store, ...]
    cuts: tuple[CutPoint, ...]
    leaves: Mapping[str, Leaf]


@dataclass(frozen=True)
class Parts:
    """The names of W x, R h and the bias of each gate of a cell with split gates, also of its other gates."""

    x: tuple[str, ...]
    r: tuple[str, ...]
    b: tuple[str, ...]

    @property
    def kept(self) -> tuple[str, ...]:
        """W x and R h, gate by gate."""
        return tuple(name for pair in zip(self.x, self.r, strict=True) for name in pair)


def parts_of(cell: Cell) -> Parts | None:
    """Of a cell with split gates, else none."""
    if not cell.split:
        return None
    taken = _taken(cell)
    x, r, b = (
        tuple(
            f"{part}_{gate}" if gate in cell.split else free(f"{part}_{gate}", taken) for gate in cell.gates
        )
        for part in "xrb"
    )
    return Parts(x, r, b)


def unnamed_products(cell: Cell, taps: Iterable[Expression]) -> dict[str, Expression]:
    """The results of products that the step backwards reads and that no value is, by a name for each.

    They are kept like values: a product would have to be multiplied again.
    """
    if not any(parameter.columns for parameter in cell.parameters):
        return {}
    known = _kept(cell)
    products = [node for node in ordered(cell.values.values()) if _is_item_of(node, "product")]
    wanted = set(ordered([*cell.gradients.values(), *taps]))
    taken, found = _taken(cell), {}
    for node in products:
        kept = known(node)
        if kept is not None and kept.op == "item" and kept in wanted:
            found[free(f"product_{node.args[0].args[0].name}_{int(node.value)}", taken)] = node
    return found


def free(name: str, taken: set[str]) -> str:
    """The name, or if it is taken a longer one; from now on it is taken."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _taken(cell: Cell) -> set[str]:
    return {*cell.inputs, *cell.values, *cell.gradient_inputs, *cell.gradients, *cell.matrices}


def _is_item_of(node: Expression, op: str) -> bool:
    return node.op == "item" and node.args[0].op == op


class _Lowering:
    """Rewrites expressions without cut points and collects the cuts."""

    def __init__(self, cell: Cell, leaves: dict[str, Leaf]) -> None:
        self.cell, self.leaves = cell, leaves
        self.taken = _taken(cell) | set(leaves)
        self.cuts: list[CutPoint] = []
        self.known: dict[Expression, Expression] = {}
        self.results: dict[Expression, tuple[str, ...]] = {}

    def __call__(self, node: Expression) -> Expression:
        if node not in self.known:
            if node.op == "item":
                self.known[node] = self.item(node.args[0], int(node.value))
            else:
                arguments = tuple(map(self, node.args))
                self.known[node] = Expression(node.op, arguments, node.name, node.value)
        return self.known[node]

    def item(self, cut: Expression, k: int) -> Expression:
        """The k-th result of a cut point."""
        if cut.op == "normalise":
            mean, scale = map(symbol, self.numbers(cut))
            return (self(cut.args[k]) - mean) * scale
        if cut.op == "normalise_backward":
            return self.back_through_normalise(cut, k)
        return symbol(self.multiplied(cut)[k])

    def numbers(self, cut: Expression) -> tuple[str, ...]:
        """The mean of what is normalised, and one over its deviation."""
        if cut not in self.results:
            parts = tuple(map(self, cut.args))  # which come first: they may be normalised themselves
            names = self.new_numbers(sum(node.op == "normalise" for node in self.results))
            self.results[cut] = names
            self.cuts.append(CutPoint("normalise", self.leaves[names[0]].place, parts, False, names))
        return self.results[cut]

    def new_numbers(self, count: int) -> tuple[str, ...]:
        """The symbols of a row's next two numbers, after those of so many that are normalised."""
        mean = self.new(f"mean_{count}", "number", 2 * count, None)
        return mean, self.new(f"scale_{count}", "number", 2 * count + 1, None)

    def new(self, name: str, array: str, place: int, narrow: bool | None) -> str:
        """A new symbol, called so or similarly."""
        name = free(name, self.taken)
        self.leaves[name] = Leaf(array, place, narrow)
        return name

    def multiplied(self, cut: Expression) -> tuple[str, ...]:
        """The results of a product, or of the way back through one."""
        if cut not in self.results:
            matrix, parts = cut.args[0].name, tuple(map(self, cut.args[1:]))
            back, projects = cut.op == "product_backward", matrix == PROJECTION
            names = tuple(
                self.new(f"{'d_' if back else ''}{matrix}_{k}", "slot", -1, projects and not back)
                for k in range(int(cut.value))
            )
            kind, place = "product_back" if back else "product", self.cell.matrices.index(matrix)
            self.results[cut] = names
            self.cuts.append(CutPoint(kind, place, parts, projects and back, names))
        return self.results[cut]

    def back_through_normalise(self, cut: Expression, k: int) -> Expression:
        """The k-th gradient u, without its part in the mean and along the normalised y: see `cut_points`."""
        half = len(cut.args) // 2
        forward = Expression("normalise", cut.args[:half])
        y = [self(item(forward, j)) for j in range(half)]
        u = [self(gradient) for gradient in cut.args[half:]]
        if cut not in self.results:
            place = 2 * sum(node.op == "normalise_backward" for node in self.results)
            names = (
                self.new(f"mean_u_{place // 2}", "sum", place, None),
                self.new(f"mean_uy_{place // 2}", "sum", place + 1, None),
            )
            self.results[cut] = names
            pairs = [(own, other) for own, other in zip(u, y, strict=True) if own is not _ZERO]
            sums = _sum(own for own, _ in pairs), _sum(own * other for own, other in pairs)
            for j, added in enumerate(sums):
                self.cuts.append(CutPoint("mean", place + j, (added,), False, names[j : j + 1], count=half))
        mean_u, mean_uy = map(symbol, self.results[cut])
        return symbol(self.numbers(forward)[1]) * (u[k] - mean_u - y[k] * mean_uy)

    def outer(self, matrix: str, node: Expression) -> None:
        """The gradient of a matrix: an outer product, or a sum of some."""
        if node.op == "add":
            for argument in node.args:
                self.outer(matrix, argument)
            return
        count = int(node.value)
        parts, others = (tuple(map(self, args)) for args in (node.args[:count], node.args[count:]))
        place = self.cell.matrices.index(matrix)
        self.cuts.append(CutPoint("outer", place, parts, matrix == PROJECTION, others=others))


def _sum(terms: Iterable[Expression]) -> Expression:
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def _leaves(cell: Cell, values: Sequence[str], scalars: Sequence[str]) -> dict[str, Leaf]:
    """What both ways of a step read."""
    projected = cell.has("project")
    found = {f"{state}_prev": Leaf("old", k, projected and k == 0) for k, state in enumerate(cell.states)}
    found |= {row: Leaf("parameter", k, False) for k, row in enumerate(cell.rows)}
    found |= {name: Leaf("scalar", k, None) for k, name in enumerate(scalars)}
    found |= {
        draw.symbol: Leaf("mask", k, projected and draw.value == "h") for k, draw in enumerate(cell.draws)
    }
    return found | {name: Leaf("value", k, projected and name == "h") for k, name in enumerate(values)}


def lowered_forward(cell: Cell, values: Sequence[str], unnamed: Mapping[str, Expression]) -> Lowered:
    """The step forward of a cell, which leaves `values`: the named ones, products, and parts of gates."""
    parts = parts_of(cell)
    leaves = _leaves(cell, values, tuple(cell.graph.scalars))
    kept = parts.kept if parts else ()
    wanted = {**cell.values, **unnamed}
    for name in wanted:
        del leaves[name]  # they are results
    if parts:
        leaves |= {name: Leaf("bias", k, False) for k, name in enumerate(parts.b)}
        sums = {
            symbol(f"z_{gate}"): symbol(x) + symbol(r) + symbol(b)
            for gate, x, r, b in zip(cell.gates, parts.x, parts.r, parts.b, strict=True)
        }
        wanted = {name: substituted(value, sums) for name, value in wanted.items()}
    else:
        leaves |= {f"z_{gate}": Leaf("gate", k, False) for k, gate in enumerate(cell.gates)}
    lowering = _Lowering(cell, leaves)
    stores = [
        Store(name, "value", k, lowering(wanted[name]), cell.has("project") and name == "h")
        for k, name in enumerate(values)
        if name not in kept
    ]
    return Lowered(tuple(stores), tuple(lowering.cuts), lowering.leaves)


def lowered_backward(
    cell: Cell,
    values: Sequence[str],
    scalars: Sequence[str],
    taps: Mapping[str, Expression],
    unnamed: Mapping[str, Expression],
) -> Lowered:
    """The step backwards, from the gradients that reach the new states to all that it leaves."""
    projected = cell.has("project")
    leaves = _leaves(cell, values, scalars)
    leaves |= {f"d_{state}": Leaf("upstream", k, projected and k == 0) for k, state in enumerate(cell.states)}
    lowering = _Lowering(cell, leaves)
    _remember_forward(lowering, unnamed)
    stores = [
        Store(name, array, place, lowering(cell.gradients.get(of, _ZERO)), narrow)
        for name, of, array, place, narrow in _results(cell, projected)
    ]
    stores += [
        Store(f"d_tap_{state}", "tap", k, lowering(taps[state]), projected and k == 0)
        for k, state in enumerate(cell.states)
        if state in taps
    ]
    for matrix in cell.matrices:
        if f"d_{matrix}" in cell.gradients:
            lowering.outer(matrix, cell.gradients[f"d_{matrix}"])
    return Lowered(tuple(stores), tuple(lowering.cuts), lowering.leaves)


def _remember_forward(lowering: _Lowering, unnamed: Mapping[str, Expression]) -> None:
    """What the step forward left of its cut points: numbers of each row, named results, products."""
    cell = lowering.cell
    known = _kept(cell)
    for node in ordered(cell.values.values()):
        kept = known(node)
        if node.op == "normalise":
            names = lowering.new_numbers(sum(other.op == "normalise" for other in lowering.results))
            lowering.results[node if kept is None else kept] = names
        elif _is_item_of(node, "normalise") and kept is not None and kept.op == "symbol":
            cut = known(node.args[0])
            if cut is not None:
                lowering.known[item(cut, int(node.value))] = kept
    for name, node in unnamed.items():
        kept = known(node)
        if kept is not None:
            lowering.known[kept] = symbol(name)


def _kept(cell: Cell) -> Callable[[Expression], Expression | None]:
    """How the step backwards has an expression of the step forward; none where it cannot have it."""
    readable = cell.gradient_inputs[len(cell.states) + len(cell.values) :]
    return kept_form(cell.values, map(symbol, readable))


def _results(cell: Cell, projected: bool) -> Iterator[tuple[str, str, str, int, bool]]:
    """Of each result but taps: its name, that of the gradient, array and place, and whether it is narrow."""
    for g, gate in enumerate(cell.gates):
        if not cell.split:
            yield f"d_z_{gate}", f"d_z_{gate}", "gate", g, False
        else:
            for part, array in (("x", "input"), ("r", "recurrent"), ("b", "bias")):
                of = f"d_{part}_{gate}" if gate in cell.split else f"d_z_{gate}"
                yield f"d_{part}_{gate}", of, array, g, False
    for p, row in enumerate(cell.rows):
        yield f"d_{row}", f"d_{row}", "parameter", p, False
    for s, state in enumerate(cell.states):
        yield f"d_{state}_prev", f"d_{state}_prev", "old", s, projected and s == 0
