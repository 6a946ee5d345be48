"""In which stage each part of a step is done, and what is kept in slots from one stage to a later one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from holdfast.cells.expression import Expression, ordered
from holdfast.cells.lowering import CutPoint, Lowered, Store

# In units of what the load of a vector takes.
_COSTS = {"tanh": 8.0, "sigmoid": 8.0, "exp": 8.0, "log": 8.0, "div": 4.0, "sqrt": 4.0}
_COST, _STORE, _LOADS_OF_ALL = 0.7, 2.0, {"scalar": 0.2, "number": 0.2, "sum": 0.2}


def widths_of_stages(lowered: Lowered) -> tuple[bool, ...]:
    """Of the fewest stages in which all can be done, which one is narrow.

    There is one at most: no narrow result is made of another across a cut.
    """
    projected = any(leaf.narrow for leaf in lowered.leaves.values())
    for count in range(1, len(lowered.cuts) + 3):  # no cut ends more than one stage
        for narrow in range(-1, count if projected else 0):
            widths = tuple(stage == narrow for stage in range(count))
            if Times(lowered, widths).all_done():
                return widths
    raise AssertionError("a result has two widths, or needs itself")


class _Never(Exception):
    """There is no stage left in which it could be done."""


class Times:
    """The first stage in which each expression can be computed."""

    def __init__(self, lowered: Lowered, widths: Sequence[bool]) -> None:
        self.lowered, self.widths = lowered, widths
        self.cut_of = {name: cut for cut in lowered.cuts for name in cut.results}
        self.stages: dict[Expression, int] = {}
        self.narrow: dict[Expression, bool | None] = {}
        # The values that stages compute, which later ones can load.
        self.values = {
            store.value: store
            for store in reversed(lowered.stores)
            if store.array == "value" and store.value.args
        }

    def all_done(self) -> bool:
        """Whether there are stages enough."""
        try:
            for store in self.lowered.stores:
                self.of_result(store.value, store.narrow)
            for cut in self.lowered.cuts:
                self.after(cut)
        except _Never:
            return False
        return True

    def width(self, node: Expression) -> bool | None:
        """Whether it has the width of a projected h; None of what all units share."""
        if node not in self.narrow:
            if node.op == "symbol":
                self.narrow[node] = self.lowered.leaves[node.name].narrow
            else:
                found = None
                for argument in node.args:
                    width = self.width(argument)
                    assert None in (found, width) or found == width, node
                    found = width if found is None else found
                self.narrow[node] = found
        return self.narrow[node]

    def of(self, node: Expression) -> int:
        """The first stage that can compute it, or load it."""
        if node not in self.stages:
            if node.op == "symbol":
                cut = self.cut_of.get(node.name)
                first = 0 if cut is None else self.after(cut) + 1
            else:
                first = 0
                for argument in node.args:
                    first = max(first, self.of(argument))
            self.stages[node] = self._next(first, self.width(node))
        return self.stages[node]

    def of_result(self, node: Expression, narrow: bool) -> int:
        """The first stage that can store it."""
        return self._next(self.of(node), narrow)

    def after(self, cut: CutPoint) -> int:
        """The stage after which a cut is done; -1: before the first."""
        return max(
            [
                *(self._part_done(cut, part, cut.narrow) for part in cut.parts),
                *(self._part_done(cut, other, False) for other in cut.others),
            ]
        )

    def _part_done(self, cut: CutPoint, part: Expression, narrow: bool) -> int:
        if not self.is_array(cut, part):
            return self.of_result(part, narrow)
        made = self.cut_of.get(part.name)
        return -1 if made is None else self.after(made)

    def is_array(self, cut: CutPoint, part: Expression) -> bool:
        """Whether a cut can read it where it lies; what `outer` reads late must not have changed since."""
        if part.op != "symbol" or cut.kind == "mean":
            return False
        array = self.lowered.leaves[part.name].array
        return array in {"value", "old", "slot"} or (
            array == "upstream" and cut.kind != "outer" and len(cut.parts) == 1
        )

    def _next(self, stage: int, narrow: bool | None) -> int:
        for later in range(stage, len(self.widths)):
            if narrow is None or self.widths[later] == narrow:
                return later
        raise _Never


class Plan:
    """What each stage loads, by its own name or from where an earlier stage left it, and what it computes."""

    def __init__(self, stages: int) -> None:
        self.symbols: list[set[Expression]] = [set() for _ in range(stages)]
        self.values: list[set[Expression]] = [set() for _ in range(stages)]
        self.slots: list[set[Expression]] = [set() for _ in range(stages)]
        self.computed: list[set[Expression]] = [set() for _ in range(stages)]
        self.cost = 0.0


class Layout:
    """Which stage stores each result, and what is kept in slots.

    Attributes:
        inputs: what cuts read that lies in no array yet, and the stage that stores it in a slot.
        plan: what the stages do.
    """

    def __init__(self, lowered: Lowered) -> None:
        self.lowered, self.widths = lowered, widths_of_stages(lowered)
        self.times = Times(lowered, self.widths)
        read = [part for cut in lowered.cuts for part, _ in parts_with_widths(cut)]
        nodes = ordered([*(store.value for store in lowered.stores), *read])
        self._rank = {node: rank for rank, node in enumerate(nodes)}
        self._latest: dict[Store, int] = {}  # stores that must wait, and for which stage
        self.inputs = self._inputs_of_cuts()
        self.plan = self._cheapest()
        while waiting := dict(self._too_early()):
            self._latest |= waiting
            self.plan = self._cheapest()

    def in_order(self, nodes: Iterable[Expression]) -> list[Expression]:
        """Arguments before what is made of them, always in the same order."""
        return sorted(nodes, key=self._rank.__getitem__)

    def _inputs_of_cuts(self) -> dict[Expression, int]:
        found = {}
        for cut in self.lowered.cuts:
            if cut.kind != "mean":
                for part, narrow in parts_with_widths(cut):
                    if not self.times.is_array(cut, part) and part not in self.times.values:
                        found[part] = self.times.of_result(part, narrow)
        return found

    def stage_of(self, store: Store) -> int:
        """The stage that a result is stored in."""
        return self._latest.get(store, self.times.of_result(store.value, store.narrow))

    def _cheapest(self) -> Plan:
        """Keep in slots what is cheaper loaded than computed again, by trying one after another."""
        kept: set[Expression] = set()
        best, better = self._planned(kept), True
        while better:
            better = False
            for node in reversed(self.in_order(kept.union(*best.computed))):
                if self._may_be_kept(node):
                    plan = self._planned(kept ^ {node})
                    if plan.cost < best.cost - 1e-9:
                        kept, best, better = kept ^ {node}, plan, True
        return best

    def _may_be_kept(self, node: Expression) -> bool:
        return (
            node not in self.inputs
            and not node.op.startswith("less")
            and self.times.width(node) is not None
            and self.times.of(node) < len(self.widths) - 1
        )

    def _planned(self, kept: set[Expression]) -> Plan:
        plan, stored = Plan(len(self.widths)), set[Expression]()
        for stage in reversed(range(len(self.widths))):
            own = [node for node in stored if self.times.of(node) == stage]
            for node in [*self._results(stage), *own]:
                self._visit(plan, stage, node, kept)
            new = plan.slots[stage] - stored - set(self.inputs)
            stored |= new
            plan.cost += _STORE * len(new)
        return plan

    def _results(self, stage: int) -> Iterator[Expression]:
        """What a stage must compute."""
        yield from (store.value for store in self.lowered.stores if self.stage_of(store) == stage)
        for cut in self.lowered.cuts:
            if cut.kind == "mean" and self.times.after(cut) == stage:
                yield cut.parts[0]
        yield from (node for node, own in self.inputs.items() if own == stage)

    def _visit(self, plan: Plan, stage: int, node: Expression, kept: set[Expression]) -> None:
        done = plan.symbols[stage], plan.values[stage], plan.slots[stage], plan.computed[stage]
        if node.op == "constant" or any(node in known for known in done):
            return
        value, made = self.times.values.get(node), self.inputs.get(node, stage)
        if node.op == "symbol":
            plan.symbols[stage].add(node)
            plan.cost += _LOADS_OF_ALL.get(self.lowered.leaves[node.name].array, 1.0)
        elif value is not None and self.stage_of(value) < stage:
            plan.values[stage].add(node)
            plan.cost += 1
        elif made < stage or (node in kept and self.times.of(node) < stage):
            plan.slots[stage].add(node)
            plan.cost += 1
        else:
            plan.computed[stage].add(node)
            plan.cost += _COSTS.get(node.op, _COST)
            for argument in node.args:
                self._visit(plan, stage, argument, kept)

    def _too_early(self) -> Iterator[tuple[Store, int]]:
        """The gradients of old states that would overwrite what is read later, and when to store them."""
        for store in self.lowered.stores:
            if store.array == "old":
                last = max(self._reads_of_upstream(store.place), default=0)
                later = range(last, len(self.widths))
                stage = next(stage for stage in later if self.widths[stage] == store.narrow)
                if stage > self.stage_of(store):
                    yield store, stage

    def _reads_of_upstream(self, place: int) -> Iterator[int]:
        """The stages that read it; a cut does so before the first one."""
        for stage, symbols in enumerate(self.plan.symbols):
            for node in symbols:
                leaf = self.lowered.leaves[node.name]
                if (leaf.array, leaf.place) == ("upstream", place):
                    yield stage


def parts_with_widths(cut: CutPoint) -> Iterator[tuple[Expression, bool]]:
    """What a cut reads."""
    yield from ((part, cut.narrow) for part in cut.parts)
    yield from ((other, False) for other in cut.others)
