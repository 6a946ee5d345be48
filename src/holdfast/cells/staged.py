"""Lays a step with cut points or a projection out in stages: `csrc/cuts.h` says what lies between them.

A stage runs over all units of a row, and ends only where a cut needs it. What one stage computes and a later
one needs is kept in a slot, unless it is cheaper to compute again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.cells.expression import Expression, ordered, substituted, symbol
from holdfast.cells.lowering import CutPoint, Leaf, Lowered, Store, free
from holdfast.cells.printers import Assignment, schedule

# In units of what the load of a vector takes.
_COSTS = {"tanh": 8.0, "sigmoid": 8.0, "exp": 8.0, "log": 8.0, "div": 4.0, "sqrt": 4.0}
_COST, _STORE, _LOADS_OF_ALL = 0.7, 2.0, {"scalar": 0.2, "number": 0.2, "sum": 0.2}
_MOST_STAGES = 12


@dataclass(frozen=True)
class Array:
    """A row of an array: value, slot, old or upstream, and its place there."""

    kind: str
    place: int


@dataclass(frozen=True)
class Cut:
    """One cut as the core has it: `struct Cut` of csrc/cuts.h; `mean` counts the widths that it divides by."""

    after: int
    kind: str
    target: int
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


@dataclass(frozen=True)
class Stage:
    """What is done at one vector of units: loads by name, a straight-line program, stores of names.

    Attributes:
        narrow: whether it runs over the width of a projected h.
        loads: the array and the place that each name is read from.
        lines: what is computed.
        stores: array, place and the name of what goes there.
    """

    narrow: bool
    loads: Mapping[str, tuple[str, int]]
    lines: tuple[Assignment, ...]
    stores: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Program:
    """A step in stages.

    Attributes:
        stages: in order.
        cuts: in order.
        slots: of each slot, whether it has the width of a projected h.
    """

    stages: tuple[Stage, ...]
    cuts: tuple[Cut, ...]
    slots: tuple[bool, ...]

    @property
    def targets(self) -> int:
        """How many numbers or sums its cuts give."""
        ends = {"normalise": 2, "mean": 1}
        return max((cut.target + ends[cut.kind] for cut in self.cuts if cut.kind in ends), default=0)


def program_of(lowered: Lowered) -> Program:
    """The step in as few stages as its cuts allow."""
    layout = _Layout(_with_results_as_values(lowered), _widths_of_stages(lowered))
    while True:
        layout.choose()
        late = layout.too_early()
        if not late:
            return _Writer(layout).program()
        layout.latest |= late


def _with_results_as_values(lowered: Lowered) -> Lowered:
    """A cut writes a value itself where its result is one."""
    leaves, stores = dict(lowered.leaves), list(lowered.stores)
    for store in lowered.stores:
        name = store.value.name
        if store.array == "value" and name in leaves and leaves[name].array == "slot":
            leaves[name] = Leaf("value", store.place, store.narrow)
            stores.remove(store)
    return replace(lowered, leaves=leaves, stores=tuple(stores))


def _widths_of_stages(lowered: Lowered) -> tuple[bool, ...]:
    """Of the fewest stages in which all can be done, which ones are narrow."""
    narrow = any(leaf.narrow for leaf in lowered.leaves.values())
    for count in range(1, _MOST_STAGES + 1):
        for widths in itertools.product((False, True) if narrow else (False,), repeat=count):
            if _Times(lowered, widths).all_done():
                return widths
    raise ValueError(f"the step needs more than {_MOST_STAGES} stages")


class _Never(Exception):
    """There is no stage left in which it could be done."""


class _Times:
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
                widths = {self.width(argument) for argument in node.args} - {None}
                assert len(widths) < 2, node
                self.narrow[node] = widths.pop() if widths else None
        return self.narrow[node]

    def of(self, node: Expression) -> int:
        """The first stage that can compute it, or load it."""
        if node not in self.stages:
            if node.op == "symbol":
                cut = self.cut_of.get(node.name)
                found = 0 if cut is None else self.after(cut) + 1
            else:
                found = max((self.of(argument) for argument in node.args), default=0)
            self.stages[node] = self._next(found, self.width(node))
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


@dataclass
class _Plan:
    """What each stage loads by symbol, loads of earlier stages' results, and computes; and what all that costs."""

    symbols: list[set[Expression]]
    values: list[set[Expression]]
    slots: list[set[Expression]]
    roots: list[list[Expression]]
    computed: list[set[Expression]]
    cost: float = 0.0


class _Layout:
    """Which results are kept in slots."""

    def __init__(self, lowered: Lowered, widths: tuple[bool, ...]) -> None:
        self.lowered, self.widths = lowered, widths
        self.times = _Times(lowered, widths)
        self.latest: dict[Store, int] = {}  # stores that must wait, and for which stage
        self.inputs = self._inputs_of_cuts()
        self.kept: set[Expression] = set()
        self.plan = self._planned(self.kept)

    def _inputs_of_cuts(self) -> dict[Expression, int]:
        """What cuts read that lies in no array yet, and the stage that stores it in a slot."""
        found = {}
        for cut in self.lowered.cuts:
            if cut.kind != "mean":
                for part, narrow in parts_with_widths(cut):
                    if not self.times.is_array(cut, part) and part not in self.times.values:
                        found[part] = self.times.of_result(part, narrow)
        return found

    def stage_of(self, store: Store) -> int:
        """The stage that a result is stored in."""
        return self.latest.get(store, self.times.of_result(store.value, store.narrow))

    def choose(self) -> None:
        """Keep in slots what is cheaper loaded than computed again, by trying one after another."""
        self.kept, self.plan = set(), self._planned(set())
        better = True
        while better:
            better = False
            again = {node for stage in self.plan.computed for node in stage} | self.kept
            order = ordered(again)
            for node in reversed([node for node in order if self._may_be_kept(node, again)]):
                kept = self.kept ^ {node}
                plan = self._planned(kept)
                if plan.cost < self.plan.cost - 1e-9:
                    self.kept, self.plan, better = kept, plan, True

    def _may_be_kept(self, node: Expression, again: set[Expression]) -> bool:
        return (
            node in again
            and bool(node.args)
            and node not in self.inputs
            and not node.op.startswith("less")
            and self.times.width(node) is not None
            and self.times.of(node) < len(self.widths) - 1
        )

    def _planned(self, kept: set[Expression]) -> _Plan:
        count = len(self.widths)
        plan = _Plan(*([make() for _ in range(count)] for make in (set, set, set, list, set)))
        for store in self.lowered.stores:
            plan.roots[self.stage_of(store)].append(store.value)
        for cut in self.lowered.cuts:
            if cut.kind == "mean":
                plan.roots[self.times.after(cut)].append(cut.parts[0])
        for node, stage in self.inputs.items():
            plan.roots[stage].append(node)
        stored: set[Expression] = set()
        for stage in reversed(range(count)):
            plan.roots[stage] += [node for node in stored if self.times.of(node) == stage]
            for root in plan.roots[stage]:
                self._visit(plan, stage, root, kept)
            new = plan.slots[stage] - stored - set(self.inputs)
            stored |= new
            plan.cost += _STORE * len(new)
        return plan

    def _visit(self, plan: _Plan, stage: int, node: Expression, kept: set[Expression]) -> None:
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

    def too_early(self) -> dict[Store, int]:
        """The gradients of old states that would take the place of one that is still read, and the stage to wait for."""
        found = {}
        for store in self.lowered.stores:
            if store.array == "old":
                last = max(self._reads_of_upstream(store.place), default=-1)
                wait = next(s for s in range(max(last, 0), len(self.widths)) if self.widths[s] == store.narrow)
                if wait > self.stage_of(store):
                    found[store] = wait
        return found

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


# When something happens: in a stage, or as the n-th cut after it.
_Moment = tuple[int, int]


class _Writer:
    """Writes the stages of a layout down, with a slot for each result that needs one."""

    def __init__(self, layout: _Layout) -> None:
        self.layout, self.lowered, self.times = layout, layout.lowered, layout.times
        self.cuts = sorted(layout.lowered.cuts, key=self.times.after)
        self.taken = {*self.lowered.leaves, *(store.name for store in self.lowered.stores)}
        self.stored = set(layout.inputs).union(*layout.plan.slots)
        self.names = self._names()
        self.slots, self.slot_of = self._slots()

    def program(self) -> Program:
        """The stages and cuts."""
        stages = tuple(map(self._stage, range(len(self.layout.widths))))
        return Program(stages, tuple(map(self._cut, self.cuts)), self.slots)

    def _names(self) -> dict[Expression, str]:
        """What each expression is called that is kept from stage to stage."""
        given = {store.value: store.name for store in reversed(self.lowered.stores) if store.value.args}
        return given | {
            node: free(f"kept_{k}", self.taken)
            for k, node in enumerate(node for node in ordered(self.stored) if node in self.stored and node not in given)
        }

    def _moment(self, cut: CutPoint) -> _Moment:
        return self.times.after(cut), 1 + self.cuts.index(cut)

    def _slots(self) -> tuple[tuple[bool, ...], dict[Expression, int]]:
        """Each slot's width, and which one each result has: one that is free when it is written."""
        written: dict[Expression, tuple[_Moment, bool]] = {}
        last: dict[Expression, _Moment] = {}
        for node in self.stored:
            stage = self.layout.inputs.get(node, self.times.of(node) if node.args else 0)
            written[node] = (stage, 0), bool(self.times.width(node))
        for cut in self.cuts:
            for name in cut.results:
                if self.lowered.leaves[name].array == "slot":
                    written[symbol(name)] = self._moment(cut), bool(self.lowered.leaves[name].narrow)
        for stage, (slots, symbols) in enumerate(
            zip(self.layout.plan.slots, self.layout.plan.symbols, strict=True)
        ):
            for node in slots | (symbols & set(written)):
                last[node] = stage, 0
        for cut in self.cuts:
            for part, narrow in parts_with_widths(cut) if cut.kind != "mean" else ():
                if part in written:
                    end = (len(self.layout.widths), 0) if cut.kind == "outer" else self._moment(cut)
                    last[part] = max(last.get(part, end), end)
                    written[part] = written[part][0], narrow
        return _allotted(written, last)

    def _array(self, cut: CutPoint, part: Expression) -> Array:
        leaf = self.lowered.leaves.get(part.name)
        if leaf is not None and leaf.array != "slot" and self.times.is_array(cut, part):
            return Array(leaf.array, leaf.place)
        value = self.times.values.get(part)
        if value is not None:
            return Array("value", value.place)
        return Array("slot", self.slot_of[part])

    def _cut(self, cut: CutPoint) -> Cut:
        after = self.times.after(cut)
        if cut.kind == "mean":  # only how many widths there are matters
            wide = (leaf.place for leaf in self.lowered.leaves.values() if (leaf.array, leaf.narrow) == ("value", False))
            return Cut(after, cut.kind, cut.target, (Array("value", next(wide)),) * cut.count, ())
        inputs = tuple(self._array(cut, part) for part in cut.parts)
        outputs = tuple(self._array(cut, other) for other in cut.others)
        if cut.kind.startswith("product"):
            leaves = [(symbol(name), self.lowered.leaves[name]) for name in cut.results]
            outputs = tuple(
                Array("slot", self.slot_of[node]) if leaf.array == "slot" else Array(leaf.array, leaf.place)
                for node, leaf in leaves
            )
        return Cut(after, cut.kind, cut.target, inputs, outputs)

    def _stage(self, stage: int) -> Stage:
        plan = self.layout.plan
        loads = {node.name: self._place(node) for node in plan.symbols[stage]}
        loads |= {self.names[node]: ("value", self.times.values[node].place) for node in plan.values[stage]}
        loads |= {self.names[node]: ("slot", self.slot_of[node]) for node in plan.slots[stage]}
        loaded = {node: symbol(self.names[node]) for node in plan.values[stage] | plan.slots[stage]}
        results = list(self._results(stage))
        values = {name: substituted(value, loaded) for name, _, _, value in results}
        lines = schedule({name: value for name, value in values.items() if value is not symbol(name)})
        stores = tuple((array, place, name) for name, array, place, _ in results)
        order = dict(sorted(loads.items(), key=lambda load: _LOADS.index(load[1][0]) * 100 + load[1][1]))
        return Stage(self.layout.widths[stage], order, tuple(lines), stores)

    def _place(self, node: Expression) -> tuple[str, int]:
        leaf = self.lowered.leaves[node.name]
        return leaf.array, self.slot_of[node] if leaf.array == "slot" else leaf.place

    def _results(self, stage: int) -> Iterator[tuple[str, str, int, Expression]]:
        """Name, array, place and value of what a stage stores."""
        for store in self.lowered.stores:
            if self.layout.stage_of(store) == stage:
                yield store.name, store.array, store.place, store.value
        for cut in self.cuts:
            if cut.kind == "mean" and self.times.after(cut) == stage:
                yield free(f"sum_{cut.target}", set(self.taken)), "add", cut.target, cut.parts[0]
        for node in ordered(self.stored):
            if node in self.stored and self.layout.inputs.get(node, -1 if not node.args else self.times.of(node)) == stage:
                yield self.names[node], "slot", self.slot_of[node], node


# In which order a stage loads.
_LOADS = ("upstream", "gate", "bias", "old", "parameter", "scalar", "mask", "value", "slot", "number", "sum")


def _allotted(
    written: Mapping[Expression, tuple[_Moment, bool]], last: Mapping[Expression, _Moment]
) -> tuple[tuple[bool, ...], dict[Expression, int]]:
    """Slots one after another; a stage loads before it stores, so it may write what it read last."""
    widths: list[bool] = []
    until: list[_Moment] = []
    slot_of = {}
    for node, (moment, narrow) in sorted(written.items(), key=lambda entry: entry[1][0]):
        usable = (
            slot
            for slot, end in enumerate(until)
            if widths[slot] == narrow and (end < moment or (end == moment and moment[1] == 0))
        )
        slot = next(usable, len(until))
        if slot == len(until):
            widths.append(narrow)
            until.append(moment)
        slot_of[node], until[slot] = slot, last[node]
    return tuple(widths), slot_of
