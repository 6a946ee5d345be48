"""One pass of one call of the compiled core: each tensor is checked and becomes an address.

`csrc/recurrence.h` says what the core reads and writes. What comes out lies in the core's own memory, which
is kept from call to call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from holdfast.cells import Cell, modifiers
from holdfast.cells.core import PrintedCell
from holdfast.compiling import printed_for
from holdfast.errors import InputError
from holdfast.kernels.checkpoints import count
from holdfast.kernels.interface import Forward, Gradients, Request, States, Upstream, Wanted, step_cell
from holdfast.kernels.table import Table

CALLS = {torch.float32: "Float32Call", torch.float64: "Float64Call"}
_BIASES = ("bias_ih", "bias_hh")
# Smaller tensors are torch's own: they take no fresh pages that would have to be faulted in.
_LEAST_BYTES = 256 * 1024
_NOTHING = (0, 0, 0)
# Under which name the numbers of each row are kept.
NUMBERS = "numbers of a row"


@dataclass(frozen=True)
class Plan:
    """What a cell is to the core, the same for all of its calls.

    Attributes:
        printed: the printed cell.
        values: under which name the call keeps each value of the printed cell.
        scalars: its numbers.
        draws: its masks, as stream and threshold.
        entering: that of the h that enters `weight_hh`, and by what the h that is left is multiplied.
    """

    printed: PrintedCell
    values: tuple[str, ...]
    scalars: tuple[float, ...]
    draws: tuple[tuple[int, int], ...]
    entering: tuple[int, int]
    entering_scale: float

    def width_of(self, name: str, request: Request) -> int:
        """The width of one of the printed cell's values."""
        product = self.printed.products.get(name)
        narrow = name == "h" if product is None else product.args[0].args[0].name == modifiers.PROJECTION
        return request.width if narrow else request.hidden

    def keeps_besides(self, request: Request) -> dict[str, int]:
        """The names of what is kept besides the cell's own values and parts, each with its width."""
        # Where one gate is split the core keeps the parts of all.
        parts = [name for name in self.printed.parts if name not in request.cell.kept_parts]
        found = {name: self.width_of(name, request) for name in (*self.printed.products, *parts)}
        return {**found, NUMBERS: self.printed.numbers} if self.printed.numbers else found


def plan_of(core: ModuleType, request: Request) -> Plan:
    """That of a request."""
    return _plan(core, request.cell, request.projected, request.taps is not None)


@lru_cache(maxsize=256)
def _plan(core: ModuleType, cell: Cell, projected: bool, tapped: bool) -> Plan:
    own = modifiers.project(cell) if projected else cell
    own = modifiers.tapped(own) if tapped else own
    printed = printed_for(own, core)
    if isinstance(printed, str):
        raise InputError(printed)
    entering = [draw for draw in cell.draws if draw.per_sequence]
    return Plan(
        printed,
        tuple([printed.value_of(name, own) for name in printed.values]),
        printed.numbers_of(own),
        tuple([_threshold(draw) for draw in printed.draws_of(own)]),
        _threshold(entering[0] if entering else None),
        dict(cell.graph.scalars).get("scale_h", 1.0),
    )


def _threshold(draw: Any) -> tuple[int, int]:
    return (0, 0) if draw is None else (draw.stream, round(draw.probability * 2**32))


class NativeCall:
    """One pass of one call: its arrays by their addresses, and the tensors that hold them meanwhile."""

    def __init__(self, core: ModuleType, request: Request, reads_input: bool = True) -> None:
        x = request.like
        self.core = core
        self.request, self.cell, self.dtype = request, request.cell, x.dtype
        self.plan = plan_of(core, request)
        self.steps, self.batch = request.leading
        self.table = Table.of(request) if request.by_index else None
        self.reads_input = reads_input
        inputs = self.table.rows if self.table else x.size(2)
        self.layers, self.directions = request.layers, request.directions
        self.hidden = request.hidden
        self.width = request.width if request.projected else request.hidden
        self.places = self.layers * self.directions
        self.row_bytes = self.hidden * x.element_size()
        self.held: list[Tensor] = []
        self.call: Any = getattr(core, CALLS[x.dtype])(
            self.plan.printed.index,
            torch.get_num_threads(),
            (self.steps, self.batch, inputs, self.hidden, self.layers, self.directions, self._projected()),
            _NOTHING if self.table else self._strided("x", x, inputs),
            self._weights(inputs),
            self._each_state("state", request.state, self.places, self.batch),
            self._optional("lengths", request.lengths, (self.batch,), torch.int64),
            self._optional("reset", request.reset, (self.steps, self.batch), torch.bool),
            self._each_state("start", request.start, self.places),
            int(request.seed) & 0xFFFF_FFFF_FFFF_FFFF if self.cell.draws and request.seed is not None else 0,
            self.plan.draws,
            self.plan.entering,
            self.plan.entering_scale,
            self.plan.scalars,
            self._several("mask", request.masks, (self.steps, self.batch, self.directions * self.width)),
            request.residual,
            self._sparse(self.table) if self.table else None,
            request.spacing if request.recompute else 0,
            request.bfloat16,
        )

    def forward(self, keep: bool) -> Forward:
        output = self._new(self.steps, self.batch, self.directions * self.width)
        state = self._new_states(self.places, self.batch)
        found = self._room(output, state) if keep else Forward(output, state)
        self.call.forward(
            output.data_ptr(),
            [part.data_ptr() for part in state],
            self._kept(found),
            self._numbers(found),
            **self._checkpoints(found),
        )
        return found

    def _projected(self) -> int:
        return self.width if self.request.projected else 0

    def _kept(self, kept: Forward) -> list[int]:
        """The values of the printed cell, or none."""
        if not kept.values:
            return []
        several = (self.layers, self.directions, self.steps, self.batch)
        found = {**kept.values, **kept.parts}
        return [
            self._address(name, found[name], (*several, self.plan.width_of(name, self.request)))
            for name in self.plan.values
        ]

    def _numbers(self, kept: Forward) -> int:
        numbers = kept.parts.get(NUMBERS)
        several = (self.layers, self.directions, self.steps, self.batch, self.plan.printed.numbers)
        return self._optional(NUMBERS, numbers, several)

    def _room(self, output: Tensor, state: States) -> Forward:
        """With room for what is kept."""
        if not self.request.recompute:
            request = self.request
            step = step_cell(request)
            values = {name: self._new_values(request.width_of(name)) for name in step.values}
            parts = {name: self._new_values(self.hidden) for name in step.kept_parts}
            more = self.plan.keeps_besides(request)
            parts |= {name: self._new_values(width) for name, width in more.items()}
            return Forward(output, state, values, parts)
        passed = self._new(*self._passed_shape()) if self.layers > 1 else None
        # Zeros, for the core leaves out what nobody reads, and an operator has the same results each time.
        shapes = {name: self._checkpoints_shape(name) for name in self.cell.states}
        checkpoints = {name: self._new(*shape).zero_() for name, shape in shapes.items()}
        return Forward(output, state, checkpoints=checkpoints, passed=passed)

    def _checkpoints_shape(self, state: str) -> tuple[int, ...]:
        several = count(self.request.recompute, self.steps)
        return self.layers, self.directions, several, self.batch, self.request.width_of(state)

    def _passed_shape(self) -> tuple[int, ...]:
        return self.layers - 1, self.steps, self.batch, self.directions * self.request.width

    def _checkpoints(self, kept: Forward) -> dict[str, Any]:
        """What both passes are told besides, where the call has checkpoints."""
        if not self.request.recompute:
            return {}
        shapes = {name: self._checkpoints_shape(name) for name in kept.checkpoints}
        return {
            "checkpoints": [self._address(k, kept.checkpoints[k], shape) for k, shape in shapes.items()],
            "passed": self._optional("passed", kept.passed, self._passed_shape()),
        }

    def backward(self, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
        request, states = self.request, self.cell.states
        taps = {
            name: torch.empty_like(tap, memory_format=torch.contiguous_format)
            for name, tap in (request.taps or {}).items()
        }
        d_x = self._new(*request.data.shape) if wanted.x else None
        weights = self._weight_gradients() if wanted.weights else [[{}] * self.directions] * self.layers
        state = self._new_states(self.places, self.batch)
        start = self._new_states(self.places) if request.start is not None else ()
        output = upstream.output
        at_each_step = [upstream.values.get(name) for name in states]
        self.call.backward(
            self._kept(kept),
            _NOTHING if output is None else self._strided("output", output, self.directions * self.width),
            self._each_state("state", upstream.state, self.places, self.batch),
            self._each_state("value", at_each_step, self.layers, self.directions, self.steps, self.batch),
            0 if d_x is None else d_x.data_ptr(),
            [address for layer in weights for own in layer for address in self._gradient_addresses(own)],
            [part.data_ptr() for part in state],
            [part.data_ptr() for part in start],
            [taps[gate].data_ptr() for gate in self.cell.gates if taps],
            [taps[name].data_ptr() if name in taps else 0 for name in states if taps],
            self._numbers(kept),
            **self._checkpoints(kept),
        )
        if self.table and wanted.weights:
            self.table.give_back(weights[0], request.weights[0], self._new)
        both = [
            [{**own, "bias_hh": own["bias_ih"].clone()} if "bias_ih" in own else own for own in layer]
            for layer in weights
        ]
        return Gradients(d_x, both, state, start, taps)

    def _weights(self, inputs: int) -> list[int]:
        """Of each place W, R, the biases, and the row blocks of the cell's own parameters."""
        rows = len(self.cell.gates) * self.hidden
        found = []
        for layer, directions in enumerate(self.request.weights):
            width = inputs if layer == 0 else self.directions * self.width
            for own in directions:
                found += [
                    self._input_weight(own["weight_ih"], (rows, width), first=layer == 0),
                    self._address("weight_hh", own["weight_hh"], (rows, self.width)),
                    *(self._optional(name, own.get(name), (rows,)) for name in _BIASES),
                ]
                for parameter in self.cell.vectors:
                    count = len(parameter.feeds)
                    first = self._address(parameter.name, own[parameter.name], (count * self.hidden,))
                    found += self._blocks(first, count)
                found += [self._address(m, own[m], tuple(own[m].shape)) for m in self.plan.printed.matrices]
        return found

    def _input_weight(self, weight: Tensor, shape: tuple[int, int], *, first: bool) -> int:
        """Where weight_ih lies, or the table that is read in its place."""
        if self.table is None or not first:
            return self._address("weight_ih", weight, shape)
        return self._address("weight_ih", self.table.read(weight), shape[::-1]) if self.reads_input else 0

    def _sparse(self, table: Table) -> tuple[int, int, int]:
        """Where the first entry of each step, the rows of the entries and their factors lie."""
        several = tuple(table.columns.shape)
        self.held.append(table.columns)
        return (
            self._optional("first", table.first, (self.steps * self.batch + 1,), torch.int64),
            table.columns.data_ptr(),
            self._optional("entries", table.factors, several),
        )

    def _blocks(self, first: int, count: int) -> list[int]:
        """The addresses of so many row blocks [H]."""
        return [first + k * self.row_bytes for k in range(count)]

    def _weight_gradients(self) -> list[list[dict[str, Tensor]]]:
        """Room for the gradients of all weights; of the biases once, because both have the same."""
        return [
            [
                {
                    name: self._new(*self._gradient_shape(layer, name, weight))
                    for name, weight in own.items()
                    if name != "bias_hh"
                }
                for own in directions
            ]
            for layer, directions in enumerate(self.request.weights)
        ]

    def _gradient_shape(self, layer: int, name: str, weight: Tensor) -> tuple[int, ...]:
        """That of the weight, or of the table in the place of weight_ih."""
        if self.table is not None and layer == 0 and name == "weight_ih":
            return self.table.rows, weight.size(0)
        return tuple(weight.shape)

    def _gradient_addresses(self, own: Mapping[str, Tensor]) -> list[int]:
        """Of one place dW, dR, that of the biases, and those of the row blocks; none where none is wanted."""
        if not own:
            return []
        bias = own.get("bias_ih")
        found = [
            own["weight_ih"].data_ptr(),
            own["weight_hh"].data_ptr(),
            0 if bias is None else bias.data_ptr(),
        ]
        for parameter in self.cell.vectors:
            found += self._blocks(own[parameter.name].data_ptr(), len(parameter.feeds))
        return [*found, *(own[matrix].data_ptr() for matrix in self.plan.printed.matrices)]

    def _new(self, *shape: int) -> Tensor:
        if prod(shape) * self.dtype.itemsize < _LEAST_BYTES:
            return torch.empty(shape, dtype=self.dtype, device="cpu")
        tensor: Tensor = self.core.empty(shape, self.dtype == torch.float64)
        return tensor

    def _new_values(self, width: int) -> Tensor:
        return self._new(self.layers, self.directions, self.steps, self.batch, width)

    def _new_states(self, *leading: int) -> States:
        return tuple([self._new(*leading, self._width_of(name)) for name in self.cell.states])

    def _each_state(self, what: str, parts: Sequence[Tensor | None] | None, *leading: int) -> list[int]:
        """The addresses of one tensor for each state, 0 where there is none; nothing of nothing."""
        if not parts:
            return []
        if len(parts) != len(self.cell.states):
            raise InputError(f"{what} must be {len(self.cell.states)} tensors, got {len(parts)}")
        return [
            self._optional(what, part, (*leading, self._width_of(state)))
            for part, state in zip(parts, self.cell.states, strict=True)
        ]

    def _width_of(self, state: str) -> int:
        return self.width if state == "h" else self.hidden

    def _several(self, what: str, tensors: Sequence[Tensor] | None, shape: tuple[int, ...]) -> list[int]:
        return [self._address(what, tensor, shape) for tensor in tensors or ()]

    def _optional(
        self, what: str, tensor: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> int:
        return 0 if tensor is None else self._address(what, tensor, shape, dtype)

    def _address(
        self, what: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> int:
        """Where a tensor of that shape and type lies, dense."""
        self._check(what, tensor, shape, dtype or self.dtype)
        dense = tensor.contiguous()
        self.held.append(dense)
        return dense.data_ptr()

    def _strided(self, what: str, tensor: Tensor, width: int) -> tuple[int, int, int]:
        """Where a tensor `[T, B, width]` with dense rows lies, and how far steps and rows are apart."""
        self._check(what, tensor, (self.steps, self.batch, width), self.dtype)
        if tensor.stride(2) != 1:
            tensor = tensor.contiguous()
        self.held.append(tensor)
        return tensor.data_ptr(), tensor.stride(0), tensor.stride(1)

    @staticmethod
    def _check(what: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_cpu:
            raise InputError(
                f"{what} must be {dtype} of shape {list(shape)} on the CPU, "
                f"got {tensor.dtype} of shape {list(tensor.shape)} on {tensor.device}"
            )
