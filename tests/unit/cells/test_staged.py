"""A step laid out in stages is the step: forward and back, with every modifier, of any cell."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from staged_machine import Machine, by_torch
from torch import Tensor

from holdfast.cells import Cell
from holdfast.cells import modifiers as m
from holdfast.cells.core import STAGED, PrintedCell
from holdfast.errors import ConfigError
from holdfast.kernels.printed import printed as torch_code

ROWS, WIDTH, NARROW = 3, 5, 4


@dataclass
class Case:
    """A printed cell, a call's cell that it serves, and numbers for all that its steps read."""

    printed: PrintedCell
    cell: Cell
    given: Mapping[str, Tensor]

    @property
    def widths(self) -> tuple[int, int]:
        return (NARROW if self.printed.projected else WIDTH), WIDTH

    def machine(self) -> Machine:
        matrices = [self.given[name] for name in self.printed.matrices]
        found = Machine(self.printed, self.widths, ROWS, matrices)
        found.places |= {("old", k): self.given[f"{s}_prev"] for k, s in enumerate(self.printed.states)}
        found.places |= {("parameter", k): self.given[row] for k, row in enumerate(self.printed.parameters)}
        numbers = self.printed.numbers_of(self.cell)
        found.places |= {("scalar", k): torch.tensor([[number]]) for k, number in enumerate(numbers)}
        found.places |= {("mask", k): mask for k, mask in enumerate(self.masks())}
        return found

    def masks(self) -> Iterator[Tensor]:
        for name, draw in zip(self.printed.masks, self.printed.draws_of(self.cell), strict=True):
            yield self.given[name] if draw else torch.zeros_like(self.given[name])

    def gate_parts(self, gate: str) -> tuple[Tensor, Tensor, Tensor]:
        return self.given[f"x_{gate}"], self.given[f"r_{gate}"], self.given[f"b_{gate}"]


def random_case(printed: PrintedCell, cell: Cell, seed: int) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1

    narrow = NARROW if printed.projected else WIDTH
    given = {}
    for k, state in enumerate(printed.states):
        given[f"{state}_prev"], given[f"d_{state}"] = (
            drawn(ROWS, narrow if k == 0 else WIDTH) for _ in range(2)
        )
    for gate in printed.gates:
        x, r, b = given[f"x_{gate}"], given[f"r_{gate}"], given[f"b_{gate}"] = (
            drawn(ROWS, WIDTH),
            drawn(ROWS, WIDTH),
            drawn(1, WIDTH).expand(ROWS, WIDTH),
        )
        given[f"z_{gate}"] = x + r + b
    given |= {row: drawn(1, WIDTH) for row in printed.parameters}
    for parameter in printed.cell.parameters:
        if parameter.columns:
            given[parameter.name] = drawn(*parameter.shape(WIDTH))
    given["weight_hr"] = drawn(NARROW, WIDTH)
    given |= {name: drawn(ROWS, narrow if name == "keep_h" else WIDTH) < 0 for name in printed.masks}
    given |= {name: torch.zeros(()) for name in (f"tap_{tap}" for tap in cell.tapped)}
    return Case(printed, cell, given)


def expected(case: Case) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The values and the gradients of the reference."""
    cell, code = case.cell, torch_code(case.cell)
    given = {**case.given, **{name: torch.tensor(number) for name, number in cell.graph.scalars.items()}}
    results = code.step(*(given[name] for name in cell.inputs))
    values = dict(zip(cell.values, results, strict=False))
    known = {**given, **values}
    gradients = code.step_backward(*(known[name] for name in cell.gradient_inputs))
    return values, dict(zip(code.gradients, gradients, strict=True))


def check(
    case: Case, make_run: Callable[[Machine, str], Callable[..., Mapping[tuple[str, int], Tensor]]]
) -> None:
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


def torch_run(machine: Machine, _way: str) -> Callable[..., Mapping[tuple[str, int], Tensor]]:
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


@pytest.mark.parametrize("printed", STAGED, ids=lambda printed: str(printed.name))
def test_the_stages_of_a_built_in_cell_are_its_step(printed: PrintedCell) -> None:
    for seed, cell in enumerate(combinations(printed)):
        check(random_case(printed, cell, seed), torch_run)
