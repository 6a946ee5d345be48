"""Lays a step with cut points or a projection out in stages: `csrc/cuts.h` says what lies between them.

A stage runs over all units of a row, and ends only where a cut needs it. What one stage computes and a later
one needs is kept in a slot, unless it is cheaper to compute again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from holdfast.cells.expression import Expression, substituted, symbol
from holdfast.cells.lowering import CutPoint, Leaf, Lowered, free
from holdfast.cells.printers import Assignment, schedule
from holdfast.cells.stage_plan import Layout, parts_with_widths


@dataclass(frozen=True)
class Array:
    """A row of an array: value, slot, old or upstream, and its place there."""

    kind: str
    place: int


@dataclass(frozen=True)
class Cut:
    """One cut as the core has it: `struct Cut` of csrc/cuts.h."""

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
    return _Writer(Layout(_with_results_as_values(lowered))).program()


def _with_results_as_values(lowered: Lowered) -> Lowered:
    """A cut writes a value itself where its result is one."""
    leaves, stores = dict(lowered.leaves), list(lowered.stores)
    for store in lowered.stores:
        name = store.value.name
        if store.array == "value" and name in leaves and leaves[name].array == "slot":
            leaves[name] = Leaf("value", store.place, store.narrow)
            stores.remove(store)
    return replace(lowered, leaves=leaves, stores=tuple(stores))


# When something happens: in a stage, or as the n-th cut after it.
_Moment = tuple[int, int]


class _Writer:
    """Writes the stages of a layout down, with a slot for each result that needs one."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.lowered, self.times = layout, layout.lowered, layout.times
        self.cuts = sorted(layout.lowered.cuts, key=self.times.after)
        self.taken = {*self.lowered.leaves, *(store.name for store in self.lowered.stores)}
        self.stored = layout.in_order(set(layout.inputs).union(*layout.plan.slots))
        self.names = self._names()
        self.slots, self.slot_of = self._slots()

    def program(self) -> Program:
        """The stages and cuts."""
        stages = tuple(map(self._stage, range(len(self.layout.widths))))
        return Program(stages, tuple(map(self._cut, self.cuts)), self.slots)

    def _names(self) -> dict[Expression, str]:
        """What each expression is called that is kept from stage to stage."""
        given = {store.value: store.name for store in reversed(self.lowered.stores) if store.value.args}
        others = [node for node in self.stored if node not in given]
        return given | {node: free(f"kept_{k}", self.taken) for k, node in enumerate(others)}

    def _stored_in(self, node: Expression) -> int:
        """The stage that stores it in its slot."""
        return self.layout.inputs[node] if node in self.layout.inputs else self.times.of(node)

    def _moment(self, cut: CutPoint) -> _Moment:
        return self.times.after(cut), 1 + self.cuts.index(cut)

    def _slots(self) -> tuple[tuple[bool, ...], dict[Expression, int]]:
        """Each slot's width, and which one each result has: one that is free when it is written."""
        written = {node: ((self._stored_in(node), 0), bool(self.times.width(node))) for node in self.stored}
        for cut in self.cuts:
            for name in cut.results:
                if self.lowered.leaves[name].array == "slot":
                    written[symbol(name)] = self._moment(cut), bool(self.lowered.leaves[name].narrow)
        last = {node: moment for node, (moment, _) in written.items()}
        for stage, symbols in enumerate(self.layout.plan.symbols):
            last |= dict.fromkeys(self.layout.plan.slots[stage] | (symbols & set(written)), (stage, 0))
        end = len(self.layout.widths), 0
        for cut in self.cuts:
            for part, narrow in parts_with_widths(cut) if cut.kind != "mean" else ():
                if part in written:
                    last[part] = max(last[part], end if cut.kind == "outer" else self._moment(cut))
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

    def _values(self) -> Iterator[tuple[int, Leaf]]:
        return ((leaf.place, leaf) for leaf in self.lowered.leaves.values() if leaf.array == "value")

    def _cut(self, cut: CutPoint) -> Cut:
        after = self.times.after(cut)
        if cut.kind == "mean":  # only how many widths there are matters
            wide = next(k for k, leaf in self._values() if not leaf.narrow)
            return Cut(after, cut.kind, cut.target, (Array("value", wide),) * cut.count, ())
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
        for node in self.stored:
            if self._stored_in(node) == stage:
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
