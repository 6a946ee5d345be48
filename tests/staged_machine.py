"""Runs a staged cell as the core does: stage after stage over whole rows, with the cuts in between."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from holdfast.cells.core import PrintedCell
from holdfast.cells.printers import TORCH
from holdfast.cells.staged import Array, Cut, Program, Stage
from holdfast.kernels.cut_points import EPSILON

Place = tuple[str, int]
# Runs one stage: what it loads from the places, and what it stores where.
Run = Callable[[int, Stage, Mapping[Place, Tensor]], Mapping[Place, Tensor]]


@dataclass
class Machine:
    """The rows of one step.

    Attributes:
        printed: the cell.
        widths: those of h and of all else.
        rows: how many rows there are.
        matrices: in the order of `PrintedCell.matrices`.
        places: what has been written, or given; what has not is not there.
    """

    printed: PrintedCell
    widths: tuple[int, int]
    rows: int
    matrices: Sequence[Tensor]
    places: dict[Place, Tensor] = field(default_factory=dict)
    d_matrices: dict[int, Tensor] = field(default_factory=dict)

    def run(self, program: Program, run: Run) -> None:
        """All of a program."""
        self.program = program
        late = []
        for after in range(-1, len(program.stages)):
            if after >= 0:
                stage = program.stages[after]
                loaded = {place: self.places[place] for place in stage.loads.values()}
                self.store(stage, run(after, stage, loaded))
            for cut in program.cuts:
                if cut.after == after:
                    (late.append if cut.kind == "outer" else self.cut)(cut)
        for cut in late:  # the core may leave it until all rows are done
            self.outer(cut)

    def store(self, stage: Stage, stored: Mapping[Place, Tensor]) -> None:
        assert set(stored) == {(array, place) for array, place, _ in stage.stores}
        width = self.width(stage.narrow)
        for (array, place), value in stored.items():
            if array not in {"value", "slot", "add"}:
                array = f"d_{array}"
            assert value.shape == (self.rows, width), (array, place)
            if array == "slot":
                assert self.program.slots[place] == stage.narrow
            if array == "add":
                assert ("sum", place) not in self.places
                self.places["sum", place] = value.sum(1, keepdim=True)
            else:
                assert array == "slot" or (array, place) not in self.places, (array, place)
                self.places[array, place] = value

    def width(self, narrow: bool) -> int:
        return self.widths[0 if narrow else 1]

    def at(self, arrays: Sequence[Array]) -> list[Tensor]:
        return [self.places[array.kind, array.place] for array in arrays]

    def cut(self, cut: Cut) -> None:
        if cut.kind == "normalise":
            joined = torch.cat(self.at(cut.inputs), 1)
            mean = joined.mean(1, keepdim=True)
            variance = ((joined - mean) ** 2).mean(1, keepdim=True)
            self.new("number", cut.target, mean)
            self.new("number", cut.target + 1, torch.rsqrt(variance + EPSILON))
        elif cut.kind == "mean":
            assert all(not self.narrow(array) for array in cut.inputs)
            self.places["sum", cut.target] = self.places["sum", cut.target] / (
                len(cut.inputs) * self.widths[1]
            )
        else:
            matrix = self.matrices[cut.target]
            joined = torch.cat(self.at(cut.inputs), 1)
            found = joined @ (matrix.t() if cut.kind == "product" else matrix)
            parts = found.split([self.width(self.narrow(array)) for array in cut.outputs], 1)
            for array, part in zip(cut.outputs, parts, strict=True):
                if array.kind == "value":
                    self.new("value", array.place, part)
                self.places[array.kind, array.place] = part

    def outer(self, cut: Cut) -> None:
        gradient = torch.cat(self.at(cut.inputs), 1).t() @ torch.cat(self.at(cut.outputs), 1)
        self.d_matrices[cut.target] = self.d_matrices.get(cut.target, 0) + gradient

    def new(self, array: str, place: int, value: Tensor) -> None:
        assert (array, place) not in self.places
        self.places[array, place] = value

    def narrow(self, array: Array) -> bool:
        if array.kind == "slot":
            return self.program.slots[array.place]
        if not self.printed.projected:
            return False
        return array.place == 0 if array.kind != "value" else self.printed.values[array.place] == "h"


def by_torch(machine: Machine) -> Run:
    """The stages as torch code."""

    def run(_number: int, stage: Stage, loaded: Mapping[Place, Tensor]) -> Mapping[Place, Tensor]:
        names: dict[str, object] = {"torch": torch}
        width = machine.width(stage.narrow)
        for name, place in stage.loads.items():
            assert loaded[place].size(1) in (1, width), name
            names[name] = loaded[place].expand(machine.rows, width)
        for line in stage.lines:
            value = eval(TORCH.render(line.expression), names)
            names[line.name] = value
        like = torch.zeros(machine.rows, width, dtype=torch.float64)
        return {(array, place): like + names[name] for array, place, name in stage.stores}  # type: ignore[operator]

    return run


LOADS = ("upstream", "gate", "bias", "old", "parameter", "scalar", "mask", "value", "slot", "number", "sum")
STORES = ("value", "slot", "add", "gate", "input", "recurrent", "bias", "old", "parameter", "tap")
_PLACES = 64


def by_cpp(machine: Machine, library: ctypes.CDLL, backward: bool) -> Run:
    """The stages as compiled C++; widths are in fours."""

    def run(number: int, stage: Stage, loaded: Mapping[Place, Tensor]) -> Mapping[Place, Tensor]:
        shape = machine.rows, machine.width(stage.narrow)
        given = {place: _dense(tensor, shape) for place, tensor in loaded.items()}
        stored = {
            (array, place): torch.full(shape, torch.nan, dtype=torch.float64)
            for array, place, _ in stage.stores
        }
        library.run_stage(
            machine.printed.index,
            ctypes.c_bool(backward),
            number,
            ctypes.c_long(prod(shape)),
            _pointers(given, LOADS),
            _pointers(stored, STORES),
        )
        return stored

    return run


def _dense(tensor: Tensor, shape: tuple[int, int]) -> Tensor:
    numbers = -tensor.long() if tensor.dtype == torch.bool else tensor.double()
    return numbers.expand(shape).contiguous()


def _pointers(tensors: Mapping[Place, Tensor], arrays: Sequence[str]) -> object:
    found = (ctypes.c_void_p * (len(arrays) * _PLACES))()
    for (array, place), tensor in tensors.items():
        found[arrays.index(array) * _PLACES + place] = tensor.data_ptr()
    return found
