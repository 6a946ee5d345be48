"""One direction of one layer as a loop over time, in torch: forward from the printed step, backward derived.

The input product W x is one call for all steps, and `unbind` splits it, so that the cost is linear in T. The
forward loop may also be differentiated by autograd, as often as asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.cells import Cell
from holdfast.kernels import gather
from holdfast.kernels.gather import Entries
from holdfast.kernels.printed import printed

Named = dict[str, Tensor]
# A parameter, a matrix or a number of the cell.
Fixed = Mapping[str, Tensor | float]


@dataclass(frozen=True)
class Direction:
    """What a direction reads besides its input and state.

    Attributes:
        cell: the equations, with everything that the call adds.
        weights: as in `kernels.interface.Weights`.
        fixed: what is the same at each step, by symbol: row blocks, matrices, scalars, `h_start`.
        steps: what changes, `[T, B, width or 1]` by symbol: masks, `starts`, `valid`, taps.
        reverse: whether it runs from the last step to the first.
    """

    cell: Cell
    weights: Mapping[str, Tensor]
    fixed: Fixed
    steps: Mapping[str, Tensor]
    reverse: bool

    def order(self, count: int) -> Sequence[int]:
        """The steps in the order in which it runs them."""
        return range(count - 1, -1, -1) if self.reverse else range(count)

    def before(self, values: Tensor, initial: Tensor) -> Tensor:
        """The state `[T, B, width]` that each step starts from, of what each step left behind.

        In reverse, the first valid step of a row starts from the initial state.
        """
        if not self.reverse:
            return torch.cat([initial.unsqueeze(0), values[:-1]])
        before = torch.cat([values[1:], initial.unsqueeze(0)])
        if "valid" not in self.steps:
            return before
        ran = torch.cat([self.steps["valid"][1:], torch.zeros_like(self.steps["valid"][:1])])
        return torch.where(ran, before, initial)


@dataclass(frozen=True)
class Run:
    """What a direction gives: its state after the last step and, by name, what each step left behind.

    `values` and `parts` are `[T, B, width]` in time order; values are zero in padding.
    """

    state: tuple[Tensor, ...]
    values: Named
    parts: Named


def run(direction: Direction, x: Tensor | Entries, state: tuple[Tensor, ...], wanted: Sequence[str]) -> Run:
    """Run it over `x` `[T, B, I]` from a state `[B, width]` each; keep the wanted values and parts."""
    cell, code = direction.cell, printed(direction.cell)
    products = _input_product(direction, x).unbind(0)
    recurrent = direction.weights["weight_hh"].t()
    biases = _split_biases(direction)
    fixed = [direction.fixed[name] for name in cell.fixed_inputs]
    steps = [direction.steps[name].unbind(0) for name in cell.step_inputs]
    entering_fixed = [direction.fixed[name] for name in cell.entering_fixed]
    entering_steps = [direction.steps[name].unbind(0) for name in cell.entering_steps]
    plain = cell.entering_inputs == ("h_prev",)
    places = {name: k for k, name in enumerate(cell.values)}
    kept_values: dict[str, list[Tensor]] = {name: [] for name in wanted if name in places}
    kept_parts: dict[str, list[Tensor]] = {name: [] for name in wanted if name not in places}
    count, old = len(cell.gates), [cell.states.index(name) for name in cell.old_states]
    for t in direction.order(len(products)):
        entering = state[0]
        if not plain:
            (entering,) = code.entering(entering, *entering_fixed, *(column[t] for column in entering_steps))
        if cell.split:
            gates = _split(cell, products[t].chunk(count, 1), (entering @ recurrent).chunk(count, 1), biases)
            for name, kept in kept_parts.items():
                kept.append(gates[cell.gate_inputs.index(name)])
        else:
            gates = torch.addmm(products[t], entering, recurrent).chunk(count, 1)
        results = code.step(*gates, *(state[k] for k in old), *fixed, *(column[t] for column in steps))
        for name, kept in kept_values.items():
            kept.append(results[places[name]])
        state = results[len(places) :]
    valid = direction.steps.get("valid")
    return Run(
        state,
        {name: _in_time_order(kept_values.pop(name), direction, valid) for name in list(kept_values)},
        {name: _in_time_order(kept_parts.pop(name), direction, None) for name in list(kept_parts)},
    )


def _input_product(direction: Direction, x: Tensor | Entries) -> Tensor:
    """W x for all steps at once `[T, B, G*H]`, with both biases but for split gates."""
    weights, cell = direction.weights, direction.cell
    bias = weights["bias_ih"] + weights["bias_hh"] if "bias_ih" in weights else None
    if bias is not None and cell.split:
        blocks = bias.chunk(len(cell.gates))
        bias = torch.cat(
            [
                torch.zeros_like(block) if gate in cell.split else block
                for gate, block in zip(cell.gates, blocks, strict=True)
            ]
        )
    if isinstance(x, Tensor):
        return functional.linear(x, weights["weight_ih"], bias)
    product = gather.product(weights["weight_ih"], x)
    return product if bias is None else product + bias


def _split_biases(direction: Direction) -> list[Tensor]:
    weights, count = direction.weights, len(direction.cell.gates)
    if "bias_ih" in weights:
        return list((weights["bias_ih"] + weights["bias_hh"]).chunk(count))
    return [weights["weight_hh"].new_zeros(weights["weight_hh"].size(0) // count)] * count


def _split(cell: Cell, x: Sequence[Tensor], r: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gates' inputs, in the order of `Cell.gate_inputs`."""
    return tuple(
        part
        for k, gate in enumerate(cell.gates)
        for part in ((x[k], r[k], b[k]) if gate in cell.split else (x[k] + r[k],))
    )


def _in_time_order(steps: list[Tensor], direction: Direction, valid: Tensor | None) -> Tensor:
    stacked = torch.stack(steps[::-1] if direction.reverse else steps)
    return stacked if valid is None else torch.where(valid, stacked, 0.0)
