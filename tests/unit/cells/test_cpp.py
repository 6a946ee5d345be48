"""The printed C++ compiles without a warning and computes what the printed torch code of its cells does."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from cells_of_users import USERS
from torch import Tensor

from holdfast.cells import Cell, Expression, get
from holdfast.cells import expression as e
from holdfast.cells.core import LIMITS, PRINTED, PrintedCell
from holdfast.cells.cpp import CPP
from holdfast.cells.modifiers import state_dropout
from holdfast.cells.own_cell import own_header, own_variants
from holdfast.cells.printers import torch_function

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
FLAGS = ["-std=c++17", "-O1", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-DHOLDFAST_LEVEL=plain"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wpedantic", "-Wno-psabi", "-Werror"]
LANES = 4
A, B, C = e.symbol("a"), e.symbol("b"), e.symbol("c_prev")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (A - (B + C), "a - (b + c_prev)"),
        (1 - A * 0.1, "number<V>(1) - a * number<V>(0.1)"),
        (A * -2, "a * number<V>(-2)"),
        (A / (B * 3.0000000000000004), "a / (b * number<V>(3.0000000000000004))"),
        (e.maximum(A, e.minimum(B, C)), "maximum(a, minimum(b, c_prev))"),
        (e.where(A >= 0, e.relu(A), -abs(B)), "select(number<V>(0) <= a, relu(a), -abs(b))"),
        (e.where(A < B, 0, 1), "select(a < b, number<V>(0), number<V>(1))"),
    ],
)
def test_cpp_text(expression: Expression, text: str) -> None:
    assert CPP.render(expression) == text


@pytest.fixture(scope="module", params=COMPILERS or ["none"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The printed cells over vectors and numbers, with the functions of libm."""
    if not COMPILERS:
        pytest.skip("there is no C++ compiler")
    return compiled(request.param, tmp_path_factory.mktemp("printed") / "cells.so")


def compiled(compiler: str, made: Path, *more: str) -> ctypes.CDLL:
    source = HERE / "printed"
    paths = [f"-I{source}", f"-I{ROOT / 'csrc'}", str(source / "cells.cc"), "-o", str(made)]
    subprocess.run([compiler, *FLAGS, *WARNINGS, *more, "-shared", "-fPIC", *paths], check=True)
    return ctypes.CDLL(str(made))


@dataclass
class Step:
    """The step of a printed cell forward or backward: what stands in the arrays that it reads and writes."""

    printed: PrintedCell
    backward: bool
    reads: Mapping[str, Sequence[str]]
    writes: Mapping[str, Sequence[str]]
    values: Mapping[str, Expression]

    def inputs(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Random numbers for each array that is read; a number of the cell is the same in all lanes."""
        made = {}
        for array, names in self.reads.items():
            drawn = torch.rand(len(names), LANES, dtype=torch.float64, generator=generator)
            made[array] = -(drawn < 0.5).long() if array == "mask" else 2 * drawn - 1
            if array == "scalar":
                made[array] = drawn[:, :1].repeat(1, LANES)
        return made

    def by_torch(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the printed torch code makes of them."""
        arguments = {
            name: inputs[array][k] != 0 if array == "mask" else inputs[array][k]
            for array, names in self.reads.items()
            for k, name in enumerate(names)
        }
        module: dict[str, Any] = {"torch": torch}
        exec(torch_function("step", list(arguments), self.values), module)
        found = dict(zip(self.values, module["step"](**arguments), strict=True))
        zeros = torch.zeros(LANES, dtype=torch.float64)
        return {
            array: torch.stack([found.get(name, zeros) for name in names])
            if names
            else zeros.expand(0, LANES)
            for array, names in self.writes.items()
        }

    def by_cpp(self, function: Callable[..., object], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the printed C++ makes of them, `[place, ...]`."""
        like = inputs["old"][0]
        made = {
            array: torch.full((len(names), *like.shape), torch.nan, dtype=torch.float64)
            for array, names in self.writes.items()
        }
        arrays = [*(inputs[name].contiguous() for name in self.reads), *made.values()]
        pointers = (ctypes.c_void_p * len(arrays))(*(array.data_ptr() for array in arrays))
        function(self.printed.index, ctypes.c_bool(self.backward), pointers)
        return made


def forward_of(printed: PrintedCell) -> Step:
    reads = {"z": [f"z_{gate}" for gate in printed.gates], **read_by_both(printed)}
    return Step(printed, False, reads, {"value": printed.values}, printed.variant.values)


def backward_of(printed: PrintedCell) -> Step:
    taps = {f"d_tap_{state}": gradient for state, gradient in printed.taps.items()}
    reads = {"d_state": [f"d_{state}" for state in printed.states], "value": printed.values}
    writes = {
        "d_z": [f"d_z_{gate}" for gate in printed.gates],
        "d_old": [f"d_{state}_prev" for state in printed.states],
        "d_parameter": [f"d_{row}" for row in printed.parameters],
        "d_tap": [f"d_tap_{state}" for state in printed.states if taps],
    }
    return Step(printed, True, reads | read_by_both(printed), writes, {**printed.variant.gradients, **taps})


def read_by_both(printed: PrintedCell) -> dict[str, Sequence[str]]:
    return {
        "old": [f"{state}_prev" for state in printed.states],
        "parameter": printed.parameters,
        "scalar": printed.scalars,
        "mask": printed.masks,
    }


STEPS = [make(printed) for printed in PRINTED for make in (forward_of, backward_of)]


def name_of(step: Step) -> str:
    return f"{step.printed.name}-{'backward' if step.backward else 'forward'}"


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_the_printed_cpp_is_the_printed_torch_code(library: ctypes.CDLL, step: Step) -> None:
    generator = torch.Generator().manual_seed(step.printed.index)
    for masks in (0, -1, None):
        inputs = step.inputs(generator)
        if masks is not None:
            inputs["mask"].fill_(masks)
        expected, got = step.by_torch(inputs), step.by_cpp(library.step_of_fours, inputs)
        for array, numbers in expected.items():
            torch.testing.assert_close(got[array], numbers, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_single_numbers_give_the_same_bits_as_vectors(library: ctypes.CDLL, step: Step) -> None:
    inputs = step.inputs(torch.Generator().manual_seed(step.printed.index))
    vectors = step.by_cpp(library.step_of_fours, inputs)
    for lane in range(LANES):
        of_lane = {array: numbers[:, lane] for array, numbers in inputs.items()}
        of_lane["mask"] = of_lane["mask"] != 0
        numbers = step.by_cpp(library.step_of_numbers, of_lane)
        for array, expected in vectors.items():
            assert torch.equal(numbers[array], expected[:, lane])


@pytest.mark.parametrize("printed", PRINTED, ids=lambda printed: str(printed.name))
def test_a_struct_says_what_its_steps_read(library: ctypes.CDLL, printed: PrintedCell) -> None:
    described = (ctypes.c_int * (13 + LIMITS["states"]))()
    library.describe_cell(printed.index, described)
    lists = ("gates", "states", "values", "parameters", "scalars", "masks")
    assert described[:6] == [len(getattr(printed, name)) for name in lists]
    assert tuple(described[13 : 13 + len(printed.states)]) == printed.state_values
    forward, backward = forward_of(printed), backward_of(printed)
    reads = [(forward, array) for array in ("old", "parameter", "mask")]
    reads += [(backward, array) for array in ("value", "old", "parameter", "mask")]
    assert described[6:13] == [places_that_matter(library, step, array) for step, array in reads]


@pytest.mark.parametrize("cell", USERS, ids=lambda cell: str(cell.name))
def test_a_users_cell_that_is_fused_is_the_printed_torch_code(cell: Cell, tmp_path: Path) -> None:
    variants = own_variants(cell)
    assert not isinstance(variants, str)
    fused = [printed for printed in variants if not printed.staged]
    header = tmp_path / "own.h"
    header.write_text(own_header(variants), encoding="utf-8")
    own = [f'-DHOLDFAST_PRINTED="{header}"', "-DHOLDFAST_PRINTED_CELLS=HOLDFAST_OWN_FUSED_CELLS"]
    for compiler in COMPILERS if fused else ():
        made = compiled(compiler, tmp_path / f"{compiler}.so", *own)
        for printed in fused:
            for step in (forward_of(printed), backward_of(printed)):
                test_the_printed_cpp_is_the_printed_torch_code(made, step)


def places_that_matter(library: ctypes.CDLL, step: Step, array: str) -> int:
    """As bits, the places of an array that change a result when they change."""
    bits = 0
    for seed in range(5):  # a mask may hide a place in one draw
        inputs = step.inputs(torch.Generator().manual_seed(seed))
        before = step.by_cpp(library.step_of_fours, inputs)
        for place in range(len(step.reads[array])):
            changed = inputs | {array: inputs[array].clone()}
            changed[array][place] = ~changed[array][place] if array == "mask" else torch.nan
            after = step.by_cpp(library.step_of_fours, changed)
            bits |= any(not torch.equal(after[name], before[name]) for name in before) << place
    return bits


@pytest.mark.parametrize("backward", [False, True])
def test_what_enters_is_the_printed_torch_code(library: ctypes.CDLL, backward: bool) -> None:
    cell = state_dropout(get("lstm"), 0.5)
    h, scale = torch.randn(2, LANES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drop = torch.tensor([0, -1, 0, -1])
    got = torch.full_like(h, torch.nan)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (h, scale, drop, got))
    library.enter(ctypes.c_bool(backward), *pointers)
    module: dict[str, Any] = {"torch": torch}
    exec(cell.torch_entering_gradient_source() if backward else cell.torch_entering_source(), module)
    name = "lstm_entering_backward" if backward else "lstm_entering"
    (expected,) = module[name](h, *([h] if backward else []), scale, drop != 0)
    assert torch.equal(got, expected)
