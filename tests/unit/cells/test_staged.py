"""A step laid out in stages is the step: forward and back, with every modifier, of any cell."""

from __future__ import annotations

import ctypes
import functools
import inspect
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from cells_of_users import USERS
from staged_machine import Machine, Run, by_cpp, by_torch
from torch import Tensor

from holdfast.cells import Cell, Expression, named, normalise, sigmoid, tanh
from holdfast.cells import modifiers as m
from holdfast.cells.core import STAGED, PrintedCell, Variants
from holdfast.cells.own_cell import own_header, own_variants
from holdfast.cells.staged import Array, Cut, Program
from holdfast.cells.staged_cpp import staged_header
from holdfast.errors import ConfigError
from holdfast.kernels.printed import printed as torch_code

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
# Else g++ makes constants of two libraries one that are called alike, as those of two users' cells are.
HIDDEN = "-fvisibility=hidden"
FLAGS = [
    "-std=c++17",
    "-O1",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=off",
    "-DHOLDFAST_LEVEL=plain",
    HIDDEN,
]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wpedantic", "-Wno-psabi", "-Werror"]
ROWS, WIDTH, NARROW = 3, 5, 4


@dataclass
class Case:
    """A printed cell, a call's cell that it serves, and numbers for all that its steps read."""

    printed: PrintedCell
    cell: Cell
    given: Mapping[str, Tensor]
    widths: tuple[int, int]

    def machine(self) -> Machine:
        matrices = [self.given[name] for name in self.printed.matrices]
        found = Machine(self.printed, self.widths, ROWS, matrices)
        found.places |= {("old", k): self.given[f"{s}_prev"] for k, s in enumerate(self.printed.states)}
        found.places |= {("parameter", k): self.given[row] for k, row in enumerate(self.printed.parameters)}
        numbers = self.printed.numbers_of(self.cell)
        found.places |= {("scalar", k): double(number).view(1, 1) for k, number in enumerate(numbers)}
        found.places |= {("mask", k): mask for k, mask in enumerate(self.masks())}
        return found

    def masks(self) -> Iterator[Tensor]:
        for name, draw in zip(self.printed.masks, self.printed.draws_of(self.cell), strict=True):
            yield self.given[name] if draw else torch.zeros_like(self.given[name])

    def gate_parts(self, gate: str) -> tuple[Tensor, Tensor, Tensor]:
        return self.given[f"x_{gate}"], self.given[f"r_{gate}"], self.given[f"b_{gate}"]


def double(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64)


def random_case(
    printed: PrintedCell, cell: Cell, seed: int, widths: tuple[int, int] = (WIDTH, NARROW)
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1

    wide = widths[0]
    narrow = widths[1] if printed.projected else wide
    given = {}
    for k, state in enumerate(printed.states):
        given[f"{state}_prev"], given[f"d_{state}"] = (
            drawn(ROWS, narrow if k == 0 else wide) for _ in range(2)
        )
    for gate in printed.gates:
        x, r, b = given[f"x_{gate}"], given[f"r_{gate}"], given[f"b_{gate}"] = (
            drawn(ROWS, wide),
            drawn(ROWS, wide),
            drawn(1, wide).expand(ROWS, wide),
        )
        given[f"z_{gate}"] = x + r + b
    given |= {row: drawn(1, wide) for row in printed.parameters}
    for parameter in printed.cell.parameters:
        if parameter.columns:
            given[parameter.name] = drawn(*parameter.shape(wide))
    given["weight_hr"] = drawn(narrow, wide)
    given |= {name: drawn(ROWS, narrow if name == "keep_h" else wide) < 0 for name in printed.masks}
    given |= {name: torch.zeros(()) for name in (f"tap_{tap}" for tap in cell.tapped)}
    return Case(printed, cell, given, (narrow, wide))


def expected(case: Case) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The values and the gradients of the reference."""
    cell, code = case.cell, torch_code(case.cell)
    given = {**case.given, **{name: double(number) for name, number in cell.graph.scalars.items()}}
    results = code.step(*(given[name] for name in cell.inputs))
    values = dict(zip(cell.values, results, strict=False))
    gradients = code.step_backward(*({**given, **values}[name] for name in cell.gradient_inputs))
    return values, dict(zip(code.gradients, gradients, strict=True))


def check(case: Case, make_run: Callable[[Machine, str], Run]) -> None:
    printed, cell = case.printed, case.cell
    values, gradients = expected(case)
    forward = case.machine()
    parts = {}
    for k, gate in enumerate(printed.gates):
        x, r, b = case.gate_parts(gate)
        if printed.split:
            first = len(printed.values) - 2 * len(printed.gates) + 2 * k
            parts |= {("value", first): x, ("value", first + 1): r}
            forward.places["bias", k] = b
        else:
            forward.places["gate", k] = x + r + b
    forward.places |= parts
    forward.run(printed.forward, make_run(forward, "forward"))
    kept = {place: value for place, value in forward.places.items() if place[0] in {"value", "number"}}
    assert len(kept) == len(printed.values) + printed.numbers
    for k, name in enumerate(printed.values):
        if name in printed.variant.values:
            close(kept["value", k], values[printed.value_of(name, cell)], name)
    backward = case.machine()
    backward.places |= kept
    backward.places |= {("upstream", k): case.given[f"d_{s}"] for k, s in enumerate(printed.states)}
    backward.run(printed.backward, make_run(backward, "backward"))
    found = dict(gradients_found(printed, backward))
    for name, gradient in found.items():
        want = gradients.get(name)
        if want is None and name[2:].partition("_")[0] in "xrb":
            want = gradients.get(f"d_z_{name[4:]}")
        if not name.startswith("d_tap_") or cell.has("tapped"):
            close(gradient, torch.zeros_like(gradient) if want is None else want.expand_as(gradient), name)
    missed = set(gradients) - set(found)
    assert all(name.startswith(("d_tap_", "d_z_")) for name in missed), missed


def gradients_found(printed: PrintedCell, machine: Machine) -> Iterator[tuple[str, Tensor]]:
    names = {
        "old": [f"{state}_prev" for state in printed.states],
        "parameter": printed.parameters,
        "tap": [f"tap_{state}" for state in printed.taps],
    }
    if printed.split:
        names |= {
            array: [f"{part}_{gate}" for gate in printed.gates]
            for array, part in (("input", "x"), ("recurrent", "r"), ("bias", "b"))
        }
    else:
        names["gate"] = [f"z_{gate}" for gate in printed.gates]
    for array, own in names.items():
        for k, name in enumerate(own):
            yield f"d_{name}", machine.places.pop((f"d_{array}", k))
    for k, name in enumerate(printed.matrices):
        yield f"d_{name}", machine.d_matrices[k]


def close(got: Tensor, want: Tensor, name: str) -> None:
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12, msg=lambda text: f"{name}: {text}")


def torch_run(machine: Machine, _way: str) -> Run:
    return by_torch(machine)


def combinations(printed: PrintedCell) -> Iterator[Cell]:
    """The cell with every choice of what the printed one has."""
    choices: list[list[Callable[[Cell], Cell]]] = [
        [lambda cell: cell, lambda cell: m.clip(cell, 0.25)],
        [lambda cell: cell, lambda cell: m.cell_dropout(cell, 0.3)],
        [
            lambda cell: cell,
            lambda cell: m.zoneout(cell, 0.2, 0.4),
            lambda cell: m.expected_zoneout(cell, 0.2, 0.4),
            lambda cell: m.zoneout(m.expected_zoneout(cell, 0.3), 0.2),
        ],
        [lambda cell: cell, m.tapped],
    ]
    start = m.project(printed.cell) if printed.projected else printed.cell
    for chosen in itertools.product(*choices) if printed.full else [()]:
        try:
            yield functools.reduce(lambda made, change: change(made), chosen, start)
        except ConfigError:  # as where there is no c to clip
            continue


def own_variants_of(cell: Cell) -> Variants:
    variants = own_variants(cell)
    assert not isinstance(variants, str)
    return variants


OWN = [printed for cell in USERS for printed in own_variants_of(cell) if printed.staged]


def name_of(printed: PrintedCell) -> str:
    return printed.name.replace("own_cell", printed.cell.name)


@pytest.mark.parametrize("printed", [*STAGED, *OWN], ids=name_of)
def test_the_stages_of_a_cell_are_its_step(printed: PrintedCell) -> None:
    for seed, cell in enumerate(combinations(printed)):
        check(random_case(printed, cell, seed), torch_run)


def compiled(compiler: str, folder: Path, text: str, macro: str) -> ctypes.CDLL:
    """The printed stages of a header."""
    header, made = folder / f"{macro.lower()}.h", folder / f"{macro.lower()}.so"
    header.write_text(text, encoding="utf-8")
    defines = [f'-DHOLDFAST_PRINTED="{header}"', f"-DHOLDFAST_PRINTED_CELLS={macro}"]
    source = HERE / "printed"
    paths = [f"-I{source}", f"-I{ROOT / 'csrc'}", str(source / "staged.cc"), "-o", str(made)]
    subprocess.run([compiler, *FLAGS, *WARNINGS, *defines, "-shared", "-fPIC", *paths], check=True)
    return ctypes.CDLL(str(made))


@pytest.fixture(scope="module", params=COMPILERS or ["none"])
def compiler(request: pytest.FixtureRequest) -> str:
    if not COMPILERS:
        pytest.skip("there is no C++ compiler")
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def built_in(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(
        compiler, tmp_path_factory.mktemp("staged"), staged_header(STAGED), "HOLDFAST_STAGED_CELLS"
    )


def check_cpp(library: ctypes.CDLL, printed: PrintedCell) -> None:
    check_description(library, printed)
    for seed, cell in enumerate(combinations(printed)):
        check(
            random_case(printed, cell, seed, (8, 4)),
            lambda machine, way: by_cpp(machine, library, way == "backward"),
        )


@pytest.mark.parametrize("printed", STAGED, ids=name_of)
def test_the_printed_cpp_of_a_cell_is_its_step(built_in: ctypes.CDLL, printed: PrintedCell) -> None:
    check_cpp(built_in, printed)


@pytest.mark.parametrize("cell", USERS, ids=lambda cell: str(cell.name))
def test_the_printed_cpp_of_a_users_cell_is_its_step(compiler: str, cell: Cell, tmp_path: Path) -> None:
    variants = own_variants_of(cell)
    library = compiled(compiler, tmp_path, own_header(variants), "HOLDFAST_OWN_STAGED_CELLS")
    assert [printed.index for printed in variants] == [0, 1, 2]
    for printed in variants:
        if printed.staged:
            check_cpp(library, printed)


KINDS = ("normalise", "product", "mean", "product_back", "outer")
ARRAYS = ("value", "slot", "old", "upstream")


def check_description(library: ctypes.CDLL, printed: PrintedCell) -> None:
    """The constants of a struct are those of the cell and of its programs."""
    described = (ctypes.c_int * 1000)()
    library.describe_cell(printed.index, described)
    forward, backward = printed.forward, printed.backward
    expected = [
        True,
        bool(printed.cell.split),
        *(
            len(getattr(printed, what))
            for what in ("gates", "states", "values", "parameters", "scalars", "masks")
        ),
        len(printed.matrices),
        printed.numbers,
        backward.targets,
        len(forward.slots),
        len(backward.slots),
        bits(printed.projected and name == "h" for name in printed.values),
        bits(forward.slots),
        bits(backward.slots),
        bits(printed.projected and name == "keep_h" for name in printed.masks),
        len(forward.stages),
        len(backward.stages),
        *(printed.values.index(state) for state in printed.states),
        *(stage.narrow for program in (forward, backward) for stage in program.stages),
    ]
    for program in (forward, backward):
        expected.append(len(program.cuts))
        for cut in program.cuts:
            expected += [cut.after, KINDS.index(cut.kind), cut.target]
            for arrays in (cut.inputs, cut.outputs):
                expected.append(len(arrays))
                expected += [number for array in arrays for number in (ARRAYS.index(array.kind), array.place)]
    assert described[: len(expected)] == expected


def bits(flags: Iterable[bool]) -> int:
    return sum(1 << k for k, flag in enumerate(flags) if flag)


@pytest.mark.parametrize("printed", [*STAGED, *OWN], ids=name_of)
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_what_the_core_may_rely_on(printed: PrintedCell, way: str) -> None:
    program: Program = getattr(printed, way)
    stores = [
        (array, place, stage) for stage, own in enumerate(program.stages) for array, place, _ in own.stores
    ]
    once = [(array, place) for array, place, _ in stores if array != "slot"]
    assert len(once) == len(set(once))
    if way == "backward":
        for place in range(len(printed.states)):
            stored = next(stage for array, own, stage in stores if (array, own) == ("old", place))
            assert not any(
                ("upstream", place) in stage.loads.values() for stage in program.stages[stored + 1 :]
            )
            assert program.stages[stored].narrow == (printed.projected and place == 0)
    for cut in program.cuts:
        assert cut.kind == "outer" or not set(cut.inputs) & set(cut.outputs)
        read = {array for array in (*cut.inputs, *cut.outputs) if array.kind == "upstream"}
        assert not read or (cut.kind, cut.after) == ("product_back", -1)
        if cut.kind == "outer":
            late = [
                ("slot", place) for array, place, stage in stores if array == "slot" and stage > cut.after
            ]
            late += [(own.kind, own.place) for own in outputs_after(program, cut)]
            assert not {(array.kind, array.place) for array in (*cut.inputs, *cut.outputs)} & set(late)


def outputs_after(program: Program, cut: Cut) -> Iterator[Array]:
    for other in program.cuts[program.cuts.index(cut) :]:
        if other.kind.startswith("product"):
            yield from other.outputs


def sizes(name: str) -> tuple[int, int, int, int]:
    (printed,) = (printed for printed in STAGED if printed.name == name)
    forward, backward = printed.forward, printed.backward
    return len(forward.stages), len(forward.slots), len(backward.stages), len(backward.slots)


def test_stages_and_slots_are_few() -> None:
    assert sizes("layernorm") == (2, 0, 3, 5)
    assert sizes("layernorm_projected") == (3, 2, 4, 8)
    assert sizes("lstm_projected") == (2, 2, 2, 2)
    assert sizes("full_gate_recurrence") == (1, 3, 2, 6)


def deep(g: Expression, c: Expression) -> dict[str, Expression]:
    new = tanh(g)
    for _ in range(60):
        new = tanh(new * 0.5 + c)
    return named(g_in=g, c=new, h=tanh(new))


def test_equations_that_are_too_deep_are_refused_by_name() -> None:
    cell = Cell("deep", deep, ("g",), ("h", "c"))
    assert isinstance(own_variants(cell), tuple)
    cell, limit = Cell("deep", deep, ("g",), ("h", "c")), sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        found = own_variants(cell)
    finally:
        sys.setrecursionlimit(limit)
    assert found == "the equations of the cell 'deep' are nested too deeply for the core"


def test_a_users_cell_that_needs_more_than_the_core_has_is_refused_by_name() -> None:
    def many(a: Expression, c: Expression) -> dict[str, Expression]:
        new = c
        for _ in range(9):
            (new,) = normalise(new + c)
        return named(a=sigmoid(a), c=new, h=tanh(new) * sigmoid(a))

    def wide(a: Expression, c: Expression) -> dict[str, Expression]:
        parts = normalise(*(c * k for k in range(1, 8)))
        return named(a=a, c=parts[0] * a, h=tanh(parts[6]))

    for function, what in (
        (many, "18 means and deviations of what it normalises; the core has room for 16"),
        (wide, "7 parts of one normalise or product; the core has room for 6"),
    ):
        cell = Cell(function.__name__, function, ("a",), ("h", "c"))
        assert own_variants(cell) == f"the cell {function.__name__!r} has {what}"
