"""What the core is printed serves every call that it claims, and says why not where it serves none."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cells_of_users import USERS

from holdfast.cells import Cell, Expression, get, named, sigmoid, tanh
from holdfast.cells import modifiers as m
from holdfast.cells.core import (
    ALL,
    LIMITS,
    PRINTED,
    STAGED,
    PrintedCell,
    digest_of,
    printed_for,
    printed_variants,
    reason_against_core,
    reason_beyond_limits,
    variant_for,
)
from holdfast.cells.expression import ordered
from holdfast.cells.registry import BUILT_IN
from holdfast.errors import ConfigError

ROOT = Path(__file__).parents[3]
Change = Callable[[Cell], Cell]
PLAIN, FULL = PRINTED[::2], PRINTED[1::2]
MASKS = ("drop_g", "keep_c", "keep_h")


def unchanged(cell: Cell) -> Cell:
    return cell


SHARES = ((0.2, 0.0), (0.0, 0.4), (0.2, 0.4))
# One of each line may be chosen.
OF_THE_EQUATIONS: tuple[tuple[Change, ...], ...] = (
    (unchanged, lambda cell: m.clip(cell, 0.25)),
    (unchanged, lambda cell: m.cell_dropout(cell, 0.3)),
    (
        unchanged,
        *(functools.partial(kind, h=h, c=c) for kind in (m.zoneout, m.expected_zoneout) for h, c in SHARES),
        lambda cell: m.zoneout(m.expected_zoneout(cell, 0.3), 0.2),
    ),
    (unchanged, m.tapped),
)
OF_THE_LOOP: tuple[tuple[Change, ...], ...] = (
    (unchanged, lambda cell: m.state_dropout(cell, 0.3)),
    (unchanged, m.reset),
    (unchanged, m.padded),
)


def can_be(cell: Cell, change: Change) -> bool:
    try:
        change(cell)
    except ConfigError:  # as where c is to be kept and there is none
        return False
    return True


def combinations(cell: Cell, lines: Iterable[Iterable[Change]]) -> Iterator[Cell]:
    """The cell with every choice of the changes that it can have."""
    usable = [[change for change in line if can_be(cell, change)] for line in lines]
    for chosen in itertools.product(*usable):
        yield functools.reduce(lambda made, change: change(made), chosen, cell)


OPERATIONS: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "maximum": max,
    "minimum": min,
    "less": lambda a, b: a < b,
    "where": lambda condition, a, b: a if condition else b,
}


def evaluated(roots: Mapping[str, Expression], inputs: Mapping[str, float]) -> dict[str, float]:
    """The numbers that the expressions are for one unit; a mask is a bool."""
    known: dict[Expression, float] = {}
    for node in ordered(roots.values()):
        if node.op == "symbol":
            known[node] = inputs[node.name]
        elif node.op == "constant":
            known[node] = node.value
        else:
            known[node] = OPERATIONS[node.op](*(known[argument] for argument in node.args))
    return {name: known[node] for name, node in roots.items()}


def step(cell: Cell, inputs: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The values of a step and the gradients of the step back."""
    values = evaluated(cell.values, inputs)
    return values, evaluated(cell.gradients, {**inputs, **values})


def random_inputs(cell: Cell, seed: int) -> dict[str, float]:
    """Numbers for what a step of a cell and of its variants reads, and for what comes back."""
    draw = random.Random(seed)
    names = [*cell.inputs, "h_prev", *(f"d_{state}" for state in cell.states)]
    numbers = {name: draw.uniform(-1, 1) for name in names}
    taps = dict.fromkeys((f"tap_{name}" for name in cell.tapped), 0.0)
    return {**numbers, **taps, **{name: draw.random() < 0.5 for name in MASKS}}


def check_step(printed: PrintedCell, cell: Cell, seed: int) -> None:
    """The printed variant, told what the call's cell has and has not, does what that cell does."""
    shared = random_inputs(printed.cell, seed)
    values, gradients = step(cell, {**shared, **cell.graph.scalars})
    drawn = {
        name: bool(draw and shared[name])
        for name, draw in zip(printed.masks, printed.draws_of(cell), strict=True)
    }
    inputs = {**shared, **dict(zip(printed.scalars, printed.numbers_of(cell), strict=True)), **drawn}
    forward = evaluated(printed.variant.values, inputs)
    assert forward == pytest.approx(
        {name: values[printed.value_of(name, cell)] for name in forward}, abs=1e-14
    )
    kept = {name: values[printed.value_of(name, cell)] for name in printed.values}
    taps = {f"d_tap_{state}": gradient for state, gradient in printed.taps.items()}
    backward = evaluated({**printed.variant.gradients, **taps}, {**inputs, **kept})
    for name, gradient in backward.items():
        if cell.has("tapped") or not name.startswith("d_tap_"):
            assert gradient == pytest.approx(gradients.get(name, 0.0), abs=1e-14), (cell, name)
    assert not {name for name in gradients if not name.startswith("d_tap_")} - set(backward)


@pytest.mark.parametrize("printed", FULL, ids=lambda printed: str(printed.name))
def test_with_its_numbers_and_masks_the_full_variant_runs_every_combination(printed: PrintedCell) -> None:
    for seed, cell in enumerate(combinations(printed.cell, OF_THE_EQUATIONS)):
        assert printed_for(cell) is (printed if cell.modifiers else PRINTED[printed.index - 1])
        check_step(printed, cell, seed)


@pytest.mark.parametrize("printed", FULL, ids=lambda printed: str(printed.name))
def test_every_value_of_every_combination_is_among_the_printed_ones(printed: PrintedCell) -> None:
    for cell in combinations(printed.cell, OF_THE_EQUATIONS + OF_THE_LOOP):
        assert not set(cell.values) - set(printed.values), cell
        assert {printed.value_of(name, cell) for name in printed.values} == set(cell.values), cell


@pytest.mark.parametrize("printed", PLAIN, ids=lambda printed: str(printed.name))
def test_the_plain_variant_runs_what_only_the_loop_changes(printed: PrintedCell) -> None:
    for cell in combinations(printed.cell, OF_THE_LOOP):
        assert printed_for(cell) is printed
        assert (printed.scalars, printed.masks) == ((), ())
        assert tuple(cell.values) == printed.values


@pytest.mark.parametrize(
    ("plain", "full"), list(zip(PLAIN, FULL, strict=True)), ids=lambda one: str(one.name)
)
def test_neutral_numbers_make_the_full_variant_the_plain_one(plain: PrintedCell, full: PrintedCell) -> None:
    assert dict(zip(full.scalars, full.numbers_of(plain.cell), strict=True)) == {
        name: {"limit_c": math.inf, "scale_g": 1.0}.get(name, 0.0) for name in full.scalars
    }
    assert full.draws_of(plain.cell) == (None,) * len(full.masks)
    for seed in range(20):
        check_step(full, plain.cell, seed)


def test_the_cells_that_read_other_units_only_through_weight_hh_are_printed() -> None:
    assert [printed.name for printed in PLAIN] == [
        cell.name for cell in BUILT_IN if cell.name not in {"layernorm", "full_gate_recurrence"}
    ]
    assert [printed.name for printed in FULL] == [f"{printed.name}_full" for printed in PLAIN]
    assert [printed.index for printed in PRINTED] == list(range(len(PRINTED)))
    assert [(printed.variant, printed.full) for printed in PLAIN] == [(p.cell, False) for p in PLAIN]


def test_the_others_are_staged_and_so_is_every_cell_with_a_projection() -> None:
    twice = [f"{name}{ending}" for name in ("layernorm", "full_gate_recurrence") for ending in ("", "_full")]
    projected = [f"{cell.name}_projected" for cell in BUILT_IN]
    assert sorted(printed.name for printed in STAGED) == sorted(twice + projected)
    assert [printed.index for printed in ALL] == list(range(len(PRINTED) + len(STAGED)))
    assert (*PRINTED, *STAGED) == ALL
    for printed in STAGED:
        assert printed.projected == printed.name.endswith("_projected")
        assert printed.full == (printed.name not in {"layernorm", "full_gate_recurrence"})
        assert printed.matrices[-1:] == (("weight_hr",) if printed.projected else printed.cell.matrices)
        parts = [f"{part}_{gate}" for gate in printed.gates for part in "xr"] if printed.split else []
        assert printed.parts == tuple(parts)
        assert printed.values == (*printed.variant.values, *printed.parts)
        assert printed.numbers == (6 if printed.split else 0)


@pytest.mark.parametrize("own", BUILT_IN, ids=lambda cell: str(cell.name))
def test_each_call_finds_its_variant(own: Cell) -> None:
    plain, full, projected = (printed for printed in ALL if printed.cell is own)
    for cell in combinations(own, OF_THE_EQUATIONS + OF_THE_LOOP):
        changed = any(
            name in {"clip", "cell_dropout", "tapped"} or "zoneout" in name for name, _ in cell.modifiers
        )
        assert printed_for(cell) is (full if changed else plain)
        assert printed_for(m.project(cell)) is projected


@pytest.mark.parametrize("printed", STAGED, ids=lambda printed: str(printed.name))
def test_every_value_of_a_staged_cell_has_a_place(printed: PrintedCell) -> None:
    for cell in combinations(printed.cell, OF_THE_EQUATIONS + OF_THE_LOOP):
        own = m.project(cell) if printed.projected else cell
        values = {printed.value_of(name, own) for name in printed.values}
        assert values - set(printed.parts) == set(own.values), cell


def test_each_state_is_found_among_the_values() -> None:
    for printed in PRINTED:
        assert [printed.values[place] for place in printed.state_values] == list(printed.states)


def test_a_cell_from_elsewhere_is_known_by_its_declaration() -> None:
    assert printed_for(pickle.loads(pickle.dumps(get("peephole")))) is PRINTED[4]


def own(g: Expression, o: Expression, c: Expression) -> dict[str, Expression]:
    """A cell of which a changed c and h have a value before the change that no other value gives."""
    new = tanh(g)
    return named(c=new, o=sigmoid(o), h=tanh(o + new * c))


OWN = Cell("lstm", own, ("g", "o"), ("h", "c"))


def test_what_a_change_hides_has_the_name_of_what_it_changes_in_a_call_without_it() -> None:
    printed = printed_variants(OWN)[1]
    assert printed.values == ("c_raw", "c", "o", "h_raw", "h")
    assert [printed.value_of(name, OWN) for name in printed.values] == ["c", "c", "o", "h", "h"]
    for seed, cell in enumerate(combinations(OWN, OF_THE_EQUATIONS)):
        check_step(printed, cell, seed)


@pytest.mark.parametrize("own", [cell for cell in USERS if cell.name in {"aliased", "only_h"}], ids=str)
def test_what_reaches_a_state_by_another_name_is_no_part_of_it(own: Cell) -> None:
    for seed, cell in enumerate(combinations(own, OF_THE_EQUATIONS)):
        printed = variant_for(cell, printed_variants(own))
        assert isinstance(printed, PrintedCell)
        check_step(printed, cell, seed)


def otherwise(g: Expression, o: Expression, c: Expression) -> dict[str, Expression]:
    """The same names, and h with a minus."""
    new = tanh(g)
    return named(c=new, o=sigmoid(o), h=tanh(o - new * c))


def gates_exchanged(o: Expression, g: Expression, c: Expression) -> dict[str, Expression]:
    """The same equations, and the row blocks of the weights in the other order."""
    return own(g, o, c)


def test_the_digest_tells_other_equations_names_and_orders_apart() -> None:
    plain, full, projected = printed_variants(OWN)
    other, again = printed_variants(replace(OWN, function=otherwise))[0], printed_variants(OWN)[0]
    swapped = printed_variants(replace(OWN, function=gates_exchanged, gates=("o", "g")))[0]
    variants: list[tuple[PrintedCell, ...]] = [
        (plain, full, projected),
        (plain, full, replace(projected, numbers=2)),
        (plain, full),
        (full, plain),
        (plain,),
        (other, full),
        (swapped, full),
        (replace(plain, name="another"), full),
        (replace(plain, values=("o", "c", "h")), full),
        (plain, replace(full, scalars=full.scalars[::-1])),
        (plain, replace(full, masks=full.masks[::-1])),
        (plain, replace(full, taps={**full.taps, "h": full.taps["c"]})),
        (plain, replace(full, variant=m.clip(plain.variant, 1.0))),
    ]
    assert len({digest_of(variant) for variant in variants}) == len(variants)
    assert digest_of((again, full)) == digest_of((plain, full))


def test_a_core_of_other_equations_is_told_by_its_digest() -> None:
    assert reason_against_core(SimpleNamespace(cells_digest=digest_of(ALL))) is None
    for core in (SimpleNamespace(cells_digest=digest_of(ALL[::-1])), SimpleNamespace()):
        assert "install holdfast again" in str(reason_against_core(core))


@pytest.mark.parametrize("cell", [OWN, replace(get("lstm"), name="renamed")], ids=["a user's", "renamed"])
def test_the_reason_why_nothing_printed_runs_a_cell(cell: Cell) -> None:
    reason = f"the core is built with holdfast's own cells; {cell.name!r} is another"
    assert printed_for(cell) == reason
    assert printed_for(m.project(cell)) == reason


def test_the_limits_are_those_of_the_core() -> None:
    text = "".join((ROOT / "csrc" / name).read_text() for name in ("recurrence.h", "cuts.h"))
    for what, limit in LIMITS.items():
        assert re.findall(rf"constexpr int kMost{what.title()} = (\d+);", text) == [str(limit)]


def test_what_is_beyond_a_limit_is_named() -> None:
    assert all(reason_beyond_limits(printed) is None for printed in ALL)
    plain = printed_variants(OWN)[0]
    many = tuple(f"v{k}" for k in range(33))
    assert reason_beyond_limits(replace(plain, values=many)) == (
        "the cell 'lstm' has 33 values to keep, with W x and R h of split gates; the core has room for 32"
    )
    layernorm = printed_for(get("layernorm"))
    assert isinstance(layernorm, PrintedCell)
    assert "18 means and deviations" in str(reason_beyond_limits(replace(layernorm, numbers=18)))
