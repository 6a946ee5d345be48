"""What the C++ core is printed: which cells, which of their modifiers, and in which order it has their parts.

Each built-in cell is printed three times. The plain one serves the cell as it is. The `_full` one has every
modifier that changes the equations but the projection; a call that lacks one gives numbers and masks with
which that one changes nothing. The `_projected` one is the full one with a projection. Dropout of the h that
enters `weight_hh`, `reset` and `padded` are no part of any: they are the same for every cell, and the core's
loop does them. A pointwise cell without projection is *fused*: all of its step is done at one vector of
units. The others are *staged*, see `holdfast.cells.staged`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from holdfast.cells import modifiers
from holdfast.cells.cell import Cell
from holdfast.cells.derivative import derivative
from holdfast.cells.expression import Expression, constant, ordered, symbol, symbols_of, where
from holdfast.cells.graph import Draw
from holdfast.cells.lowering import lowered_backward, lowered_forward, parts_of, unnamed_products
from holdfast.cells.registry import BUILT_IN
from holdfast.cells.staged import Program, program_of

_OF_THE_LOOP = frozenset({"state_dropout", "reset", "padded"})
_OF_THE_FULL = frozenset({"clip", "cell_dropout", "zoneout", "expected_zoneout", "tapped"})
# With these numbers, and masks that are false, a modifier changes nothing.
_NEUTRAL: Mapping[str, float] = MappingProxyType({"limit_c": math.inf, "scale_g": 1.0})


# What the core has room for; csrc/recurrence.h and csrc/cuts.h say the same.
LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "states": 6,
        "gates": 8,
        "parameters": 24,
        "values": 32,
        "scalars": 8,
        "masks": 4,
        "matrices": 4,
        "outers": 8,
        "numbers": 16,
        "sums": 16,
        "slots": 32,
        "arrays": 6,
    }
)


@dataclass(frozen=True)
class PrintedCell:
    """One cell as the core has it; the order of each tuple is that of the core's arrays.

    Attributes:
        index: its place in the core's table, by which the core is asked for it.
        name: the name of its C++ struct.
        cell: the cell that it serves, without modifiers.
        variant: the cell whose equations are printed.
        values: what the forward step leaves for the backward step: the named values, the results of products
            that have no name (`products`), and of a split cell W x and R h of each gate, one after the other.
        scalars: the numbers that it reads, by symbol.
        masks: the masks that it reads, by symbol.
        taps: the whole gradient of each state's value, by state, in terms of what the backward step reads;
            none of a plain one.
        products: those values that are results of products, without a name of the cell's.
        numbers: how many numbers of each row, the same for all units, are kept too.
    """

    index: int
    name: str
    cell: Cell
    variant: Cell
    values: tuple[str, ...]
    scalars: tuple[str, ...]
    masks: tuple[str, ...]
    taps: Mapping[str, Expression]
    products: Mapping[str, Expression]
    numbers: int

    @property
    def gates(self) -> tuple[str, ...]:
        """The row blocks of the weight matrices."""
        return self.cell.gates

    @property
    def states(self) -> tuple[str, ...]:
        """What is carried from step to step, h first."""
        return self.cell.states

    @property
    def parameters(self) -> tuple[str, ...]:
        """The row blocks `[H]` of the cell's own vectors."""
        return self.cell.rows

    @property
    def matrices(self) -> tuple[str, ...]:
        """What the step multiplies by besides `weight_hh`, the projection last."""
        return self.variant.matrices

    @property
    def full(self) -> bool:
        """Whether it has the modifiers."""
        return bool(self.variant.modifiers)

    @property
    def projected(self) -> bool:
        """Whether it projects h."""
        return self.variant.has("project")

    @property
    def split(self) -> bool:
        """Whether it reads W x and R h apart, which are then values."""
        return bool(self.cell.split)

    @property
    def parts(self) -> tuple[str, ...]:
        """Those of `values` that are W x and R h of each gate, of gates that the cell does not split too."""
        return self.values[len(self.values) - 2 * len(self.gates) :] if self.split else ()

    @cached_property
    def staged(self) -> bool:
        """Whether a row is summed or multiplied within the step."""
        return not _pointwise(self.variant)

    @cached_property
    def forward(self) -> Program:
        """The step of a staged one."""
        return program_of(lowered_forward(self.variant, self.values, self.products))

    @cached_property
    def backward(self) -> Program:
        """The step backwards of a staged one."""
        return program_of(lowered_backward(self.variant, self.values, self.scalars, self.taps, self.products))

    @property
    def state_values(self) -> tuple[int, ...]:
        """Which of the values each state is after the step."""
        return tuple(self.values.index(state) for state in self.states)

    def value_of(self, name: str, cell: Cell) -> str:
        """Under which name a call's cell keeps that one of `values`.

        Without the modifiers that change a value, that one and the one before the change are the same.
        """
        return name if name in cell.values else name.removesuffix("_raw")

    def numbers_of(self, cell: Cell) -> tuple[float, ...]:
        """`scalars` for a call's cell, neutral where it lacks the modifier."""
        given = dict(cell.graph.scalars)
        kept = {draw.value for draw in cell.draws if draw.symbol.startswith("keep_")}
        kept |= {name.removeprefix("zoneout_") for name in given if name.startswith("zoneout_")}
        given |= {f"zoned_{state}": 1.0 for state in kept}
        return tuple(given.get(name, _NEUTRAL.get(name, 0.0)) for name in self.scalars)

    def draws_of(self, cell: Cell) -> tuple[Draw | None, ...]:
        """`masks` for a call's cell, None where nothing is drawn and the mask is false."""
        given = {draw.symbol: draw for draw in cell.draws}
        return tuple(given.get(name) for name in self.masks)


Variants = tuple[PrintedCell, PrintedCell, PrintedCell]


def _pointwise(cell: Cell) -> bool:
    """Whether a step reads nothing of other units but through `weight_hh`."""
    cuts = any(node.op == "item" for node in ordered(cell.values.values()))
    return not (cell.split or cell.matrices or cuts)


def _modified(cell: Cell, *, zoned: bool, projected: bool) -> Cell:
    """With every modifier that changes the equations; which probabilities does not matter."""
    if projected:
        cell = modifiers.project(cell)
    if "c" in cell.values:
        cell = modifiers.clip(cell, 1.0)
    if "g" in cell.values:
        cell = modifiers.cell_dropout(cell, 0.5)
    if zoned:
        share = 0.5 if "c" in cell.states else 0.0
        cell = modifiers.expected_zoneout(modifiers.zoneout(cell, 0.5, share), 0.5, share)
    return cell


def _taps(cell: Cell, full: Cell) -> dict[str, Expression]:
    """What `tapped` shows of the states: all that reaches the value that the step leaves, from within it too.

    Other values of the step see a state as it is before zoneout. What reaches them is part of the gradient
    where a call has no zoneout; the number `zoned_c` says whether it has.
    """
    before = _modified(cell, zoned=False, projected=full.has("project")).values
    readable = [symbol(name) for name in full.gradient_inputs[len(full.states) + len(full.values) :]]
    taps = {}
    for state in cell.tapped[len(cell.gates) :]:
        inner, whole = before[state], full.values[state]
        # Earlier names of the very same value are no part of it: see `Graph.with_later_uses`.
        names = list(full.values)
        earlier = {name for name in names[: names.index(state)] if full.values[name] is inner}
        upstream: dict[Expression, Expression] = {}
        for other in cell.states:
            node, gradient = full.values[other], symbol(f"d_{other}")
            if other not in earlier:
                upstream[node] = upstream[node] + gradient if node in upstream else gradient
        found = derivative(full.values, upstream, [inner, whole], readable)
        others = [value for name, value in full.values.items() if name != state and name not in earlier]
        seen = any(node is inner for node in ordered(others))
        taps[state] = (
            where(symbol(f"zoned_{state}") < constant(0.5), found[inner], found[whole])
            if seen
            else found[whole]
        )
    return taps


def printed_variants(cell: Cell, name: str = "", first: int = 0) -> Variants:
    """The plain, the full and the projected one of a cell without modifiers.

    Args:
        cell: the cell.
        name: what the plain struct is called, the others with an ending; by default as the cell.
        first: the place of the plain one in the core's table; the others follow.
    """
    plain, full, projected = (
        _one(first + k, f"{name or cell.name}{ending}", cell, variant)
        for k, (ending, variant) in enumerate(
            (
                ("", cell),
                ("_full", _modified(cell, zoned=True, projected=False)),
                ("_projected", _modified(cell, zoned=True, projected=True)),
            )
        )
    )
    return plain, full, projected


def _one(index: int, name: str, cell: Cell, variant: Cell) -> PrintedCell:
    taps = _taps(cell, variant) if variant.modifiers else {}
    needed = symbols_of(taps.values())
    parts, products = parts_of(variant), unnamed_products(variant, taps.values())
    normalised = [node for node in ordered(variant.values.values()) if node.op == "normalise"]
    return PrintedCell(
        index=index,
        name=name,
        cell=cell,
        variant=variant,
        values=(*variant.values, *products, *(parts.kept if parts else ())),
        scalars=(
            *variant.graph.scalars,
            *(f"zoned_{state}" for state in cell.states if f"zoned_{state}" in needed),
        ),
        masks=tuple(draw.symbol for draw in variant.draws),
        taps=MappingProxyType(taps),
        products=MappingProxyType(products),
        numbers=2 * len(normalised),
    )


def _built_in() -> tuple[PrintedCell, ...]:
    """Fused ones first."""
    variants = [printed for cell in BUILT_IN for printed in printed_variants(cell)]
    variants.sort(key=lambda printed: printed.staged)
    return tuple(replace(printed, index=index) for index, printed in enumerate(variants))


ALL = _built_in()
PRINTED = tuple(printed for printed in ALL if not printed.staged)
STAGED = tuple(printed for printed in ALL if printed.staged)


def digest_of(cells: Sequence[PrintedCell]) -> str:
    """Sixteen letters that tell what is printed from anything else: names, their order, and equations.

    Of the gradients it has the taps alone; all of them follow from the equations.
    """
    found = hashlib.sha256()
    for printed in cells:
        names = (printed.name, printed.gates, printed.states, printed.values, printed.parameters)
        more = (printed.matrices, printed.numbers) if printed.staged else ()
        results = {**printed.variant.values, **{f"d_tap_{name}": tap for name, tap in printed.taps.items()}}
        places: dict[Expression, int] = {}
        for node in ordered(results.values()):
            arguments = [places[argument] for argument in node.args]
            places[node] = len(places)
            found.update(repr((node.op, arguments, node.name, node.value)).encode())
        written = {name: places[node] for name, node in results.items()}
        inputs = (printed.variant.gate_inputs, printed.scalars, printed.masks, printed.state_values)
        found.update(repr(((*names, *more), inputs, written)).encode())
    return found.hexdigest()[:16]


@lru_cache(maxsize=1)
def _own_digest() -> str:
    return digest_of(ALL)


def reason_against_core(core: Any) -> str | None:
    """Why the module `holdfast._core` cannot serve these cells; None where it was built from them."""
    if getattr(core, "cells_digest", None) == _own_digest():
        return None
    return "the compiled core was built from other cells: install holdfast again"


def reason_against_bfloat16(core: Any) -> str | None:
    """Why the module `holdfast._core` cannot multiply in bfloat16 in this process; None where it can."""
    if core.has_bfloat16:
        return None
    lacks = "avx512bf16" not in core.instruction_sets
    why = "this processor lacks" if lacks else f"its level here, {core.level}, lacks"
    return f"holdfast's core multiplies in bfloat16 by the instructions AVX512_BF16, which {why}"


def _declaration(cell: Cell) -> tuple[object, ...]:
    """All of a cell but its modifiers."""
    return cell.name, cell.function, cell.gates, cell.states, cell.parameters, cell.split


_BY_DECLARATION: dict[tuple[object, ...], Variants] = {
    _declaration(cell): tuple(printed for printed in ALL if printed.cell is cell)  # type: ignore[misc]
    for cell in BUILT_IN
}


def built_in_variants(cell: Cell) -> Variants | None:
    """Those of `ALL` that are of this cell, whatever its modifiers; None of a user's own."""
    return _BY_DECLARATION.get(_declaration(cell))


@lru_cache(maxsize=256)
def printed_for(cell: Cell) -> PrintedCell | str:
    """What of `ALL` runs a call's cell, with all that the call adds; else the reason why nothing does."""
    variants = built_in_variants(cell)
    if variants is None:
        return f"the core is built with holdfast's own cells; {cell.name!r} is another"
    return variant_for(cell, variants)


def variant_for(cell: Cell, variants: Variants) -> PrintedCell | str:
    """Which of the variants runs a call's cell; the reason if none of them has all of its modifiers."""
    known = _OF_THE_FULL | _OF_THE_LOOP | {"project"}
    unknown = [name for name, _ in cell.modifiers if name not in known]
    if unknown:
        return f"the core was printed without {', '.join(unknown)}"
    plain, full, projected = variants
    if cell.has("project"):
        return projected
    return full if any(name in _OF_THE_FULL for name, _ in cell.modifiers) else plain


def reason_beyond_limits(printed: PrintedCell) -> str | None:
    """What of a cell is more than the core has room for; None of all that it has."""
    counts = {
        what: len(getattr(printed, what))
        for what in ("states", "gates", "parameters", "values", "scalars", "masks", "matrices")
    }
    problem = _beyond(printed, counts)
    if problem is None and printed.staged:
        programs = printed.forward, printed.backward
        cuts = [cut for program in programs for cut in program.cuts]
        counts = {
            "numbers": printed.numbers,
            "sums": printed.backward.targets,
            "slots": max(len(program.slots) for program in programs),
            "outers": sum(cut.kind == "outer" for cut in printed.backward.cuts),
            "arrays": max((len(arrays) for cut in cuts for arrays in (cut.inputs, cut.outputs)), default=0),
        }
        problem = _beyond(printed, counts)
    return problem


_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "parameters": "row blocks of parameters",
        "values": "values to keep, with W x and R h of split gates",
        "numbers": "means and deviations of what it normalises",
        "sums": "sums over units on the way back",
        "slots": "results to keep between its cut points",
        "outers": "uses of matrices",
        "arrays": "parts of one normalise or product",
    }
)


def _beyond(printed: PrintedCell, counts: Mapping[str, int]) -> str | None:
    for what, count in counts.items():
        if count > LIMITS[what]:
            meant = _MEANINGS.get(what, what)
            return f"the cell {printed.cell.name!r} has {count} {meant}; the core has room for {LIMITS[what]}"
    return None
