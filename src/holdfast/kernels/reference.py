"""The reference backend: any cell, dtype and device, as a plain loop over time in torch; the oracle.

The step is the torch code printed from the cell's equations. The input product W x is one call for all
steps and `unbind` splits it, so that the backward pass is linear in T; autograd differentiates it, twice
if asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from holdfast.cells import Cell
from holdfast.kernels.interface import Request, Result, valid_steps

Step = Callable[..., tuple[Tensor, ...]]
Values = dict[str, Tensor]


@cache
def compiled_step(cell: Cell) -> Step:
    """The cell's printed torch code, ready to call: takes `cell.inputs`, returns `cell.values` in order."""
    names: dict[str, object] = {"torch": torch}
    exec(compile(cell.torch_source(), f"<cell {cell.name}>", "exec"), names)
    step: Step = names[cell.name]  # type: ignore[assignment]
    return step


@dataclass(frozen=True)
class _Direction:
    """One direction of one layer: output `[T, B, width]`, final state, trace `[T, B, width]` by name."""

    output: Tensor
    state: tuple[Tensor, ...]
    trace: Values


class ReferenceBackend:
    """Runs every cell everywhere; slower than the others."""

    name = "reference"
    summary = "a loop over time in torch from the cell's equations"

    def available(self) -> str | None:
        return None

    def supports(self, request: Request) -> str | None:
        return None

    def run(self, request: Request) -> Result:
        if isinstance(request.x, PackedSequence):
            return _run_packed(request, request.x)
        return _run_padded(request, request.x, packed=False)


def _run_packed(request: Request, packed: PackedSequence) -> Result:
    # Without its indices a packed sequence stays in its own, sorted order.
    padded, lengths = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
    result = _run_padded(replace(request, x=padded, lengths=lengths), padded, packed=True)
    assert isinstance(result.output, Tensor)
    data = pack_padded_sequence(result.output, lengths).data
    output = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return replace(result, output=output)


def _run_padded(request: Request, x: Tensor, *, packed: bool) -> Result:
    valid = None if request.lengths is None else valid_steps(request.lengths, x.size(0), x.device)
    state = request.initial_state()
    directions = request.directions
    layers: list[list[_Direction]] = []
    for layer, weights in enumerate(request.weights):
        if layer > 0 and request.dropout > 0:
            x = _dropout(x, request.dropout, request.lengths if packed else None)
        rows = [tuple(part[layer * directions + d] for part in state) for d in range(directions)]
        layers.append(
            [
                _run_direction(request, x, weights[d], rows[d], valid, reverse=d == 1)
                for d in range(directions)
            ]
        )
        x = torch.cat([direction.output for direction in layers[-1]], dim=2)
    flat = [direction for layer_results in layers for direction in layer_results]
    final = [torch.stack(parts) for parts in zip(*(direction.state for direction in flat), strict=True)]
    trace = _stacked_trace(layers) if request.trace else None
    output, *states = _as_autocast_returns([x, *final])
    return Result(output, tuple(states), trace)


def _as_autocast_returns(results: list[Tensor]) -> list[Tensor]:
    """Under autocast the loop carries what promotion makes of it; PyTorch's layer returns autocast's type."""
    device = results[0].device.type
    if not torch.is_autocast_enabled(device):
        return results
    return [result.to(torch.get_autocast_dtype(device)) for result in results]


def _dropout(x: Tensor, probability: float, packed_lengths: Tensor | None) -> Tensor:
    """Dropout between layers; over packed data the mask is drawn for the valid steps only, as torch does."""
    if packed_lengths is None:
        return functional.dropout(x, probability)
    packed = pack_padded_sequence(x, packed_lengths)
    data = functional.dropout(packed.data, probability)
    return pad_packed_sequence(PackedSequence(data, packed.batch_sizes), total_length=x.size(0))[0]


def _run_direction(
    request: Request,
    x: Tensor,
    weights: Mapping[str, Tensor],
    state: tuple[Tensor, ...],
    valid: Tensor | None,
    *,
    reverse: bool,
) -> _Direction:
    cell = request.cell
    step = compiled_step(cell)
    recurrent = weights["weight_hh"].t()
    projection = weights["weight_hr"].t() if "weight_hr" in weights else None
    fed = [
        row for parameter in cell.parameters for row in weights[parameter.name].chunk(len(parameter.feeds))
    ]
    order = range(x.size(0) - 1, -1, -1) if reverse else range(x.size(0))
    inputs = _input_product(x, weights).unbind(0)
    masks = None if valid is None else valid.unbind(0)

    outputs: list[Tensor] = []
    seen: list[tuple[Tensor, ...]] = []
    for t in order:
        gates = torch.addmm(inputs[t], state[0], recurrent).chunk(len(cell.gates), dim=1)
        values = dict(zip(cell.values, step(*gates, *state[1:], *fed), strict=True))
        if projection is not None:
            values["h"] = values["h"] @ projection
        after = tuple(values[name] for name in cell.states)
        outputs.append(after[0])
        if masks is not None:
            after = tuple(torch.where(masks[t], new, old) for new, old in zip(after, state, strict=True))
        state = after
        if request.trace:
            seen.append(tuple(values.values()))

    widths = {name: request.width if name == "h" else request.hidden for name in cell.values}
    empty = {name: x.new_empty(0, x.size(1), width) for name, width in widths.items()}
    trace = {
        name: _in_time_order([values[k] for values in seen], reverse, valid, empty[name])
        for k, name in enumerate(cell.values if request.trace else ())
    }
    detached = {name: value if name in cell.states else value.detach() for name, value in trace.items()}
    output = _in_time_order(outputs, reverse, valid, empty["h"])
    return _Direction(output, state, detached)


def _input_product(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """W x + both biases for all steps at once, `[T, B, G*H]`."""
    bias = weights["bias_ih"] + weights["bias_hh"] if "bias_ih" in weights else None
    return functional.linear(x, weights["weight_ih"], bias)


def _in_time_order(steps: list[Tensor], reverse: bool, valid: Tensor | None, empty: Tensor) -> Tensor:
    """Stack what the steps gave, in time order and with zeros in padding; `empty` stands in for no steps."""
    if not steps:
        return empty
    stacked = torch.stack(steps[::-1] if reverse else steps)
    return stacked if valid is None else torch.where(valid, stacked, 0.0)


def _stacked_trace(layers: list[list[_Direction]]) -> dict[str, Tensor]:
    names = layers[0][0].trace
    return {
        name: torch.stack([torch.stack([direction.trace[name] for direction in layer]) for layer in layers])
        for name in names
    }
