"""A stack of layers in torch: what each direction reads, and the way of values and gradients through it.

The forward pass is made of functional torch operations: autograd may differentiate it, as often as asked.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from holdfast.kernels import masks
from holdfast.kernels.direction import Direction, Named, Run, run
from holdfast.kernels.gather import Entries, entries_of
from holdfast.kernels.interface import Forward, Request, step_cell, valid_steps

Place = tuple[int, int]


def computing_type(dtype: torch.dtype) -> torch.dtype:
    """The type of states and sums inside a call: float32 at least."""
    return torch.float32 if dtype in {torch.float16, torch.bfloat16} else dtype


class Stack:
    """One call: its layers and directions, ready to run."""

    def __init__(self, request: Request) -> None:
        self.original = request
        dtype = request.like.dtype
        self.request = request if computing_type(dtype) == dtype else request.to(computing_type(dtype))
        self.cell = step_cell(request)
        self.steps, self.batch = self.request.leading
        self.like = self.request.like
        self.shared = self._shared_steps()
        self.x = self._entering()
        self.places = [(layer, d) for layer in range(request.layers) for d in range(request.directions)]
        self.directions = {place: self._direction(*place) for place in self.places}

    def _entering(self) -> Tensor | Entries:
        """What the first layer reads."""
        if self.request.by_index:
            valid = self.shared[False].get("valid")
            return entries_of(self.request, None if valid is None else valid.squeeze(2))
        x = self.request.data
        return x if self.request.lengths is None else self.without_padding(x)

    def _shared_steps(self) -> dict[bool, Named]:
        """`valid` and `starts` `[T, B, 1]`, of the forward direction (False) and the reverse one (True)."""
        request = self.request
        both: dict[bool, Named] = {False: {}, True: {}}
        if request.lengths is not None:
            valid = valid_steps(request.lengths, self.steps, self.like.device)
            both[False]["valid"] = both[True]["valid"] = valid
        if request.reset is not None:
            begins = request.reset.unsqueeze(2)
            if request.lengths is not None:
                begins = begins & both[False]["valid"]
            both[False]["starts"] = begins
            both[True]["starts"] = torch.cat([begins[1:], torch.zeros_like(begins[:1])])
        return both

    def _direction(self, layer: int, d: int) -> Direction:
        request, cell = self.request, self.cell
        weights = request.weights[layer][d]
        fixed: dict[str, Tensor | float] = dict(cell.graph.scalars)
        for parameter in cell.vectors:
            blocks = weights[parameter.name].chunk(len(parameter.feeds))
            fixed.update(zip(parameter.feeds, blocks, strict=True))
        fixed.update({name: weights[name] for name in cell.matrices})
        if request.reset is not None:
            fixed.update({f"{s}_start": self._start(k, layer, d) for k, s in enumerate(cell.states)})
        steps = dict(self.shared[d == 1])
        for name, taps in (request.taps or {}).items():
            steps[f"tap_{name}"] = taps[layer, d]
        return Direction(cell, weights, fixed, {**steps, **self._masks(layer, d)}, reverse=d == 1)

    def _start(self, k: int, layer: int, d: int) -> Tensor:
        """What a reset re-initialises the k-th state to, `[width]`."""
        if self.request.start is not None:
            return self.request.start[k][layer * self.request.directions + d]
        return self.like.new_zeros(self.request.width_of(self.cell.states[k]))

    def _masks(self, layer: int, d: int) -> Named:
        request, times = self.request, torch.arange(self.steps, device=self.like.device)
        drawn: Named = {}
        for draw in self.cell.draws:
            assert request.seed is not None
            when = self._beginnings(times) if draw.per_sequence else times
            units = request.width_of(draw.value)
            drawn[draw.symbol] = masks.chosen(
                request.seed, draw.stream, layer, d, when, self.batch, units, draw.probability
            )
        return drawn

    def _beginnings(self, times: Tensor) -> Tensor:
        """At which step the sequence that is in each row at each step began, `[T]` or `[T, B]`."""
        if self.request.reset is None:
            return torch.zeros_like(times)
        begins = self.shared[False]["starts"].squeeze(2)
        return torch.cummax(torch.where(begins, times.unsqueeze(1), 0), dim=0).values

    def without_padding(self, values: Tensor) -> Tensor:
        """`[T, B, width]` with zeros in padding, whatever is there."""
        return torch.where(self.shared[False]["valid"], values, 0.0)

    def layer_input(self, layer: int, x: Tensor | Entries) -> Tensor | Entries:
        if isinstance(x, Entries) or layer == 0 or not self.request.masks:
            return x
        return x * self.request.masks[layer - 1]

    def layer_output(self, layer: int, own: Tensor, x: Tensor | Entries) -> Tensor:
        """What the layer passes on of what it computed from x."""
        if isinstance(x, Entries) or layer == 0 or not self.request.residual:
            return own
        return own + x

    def rows(self, states: tuple[Tensor, ...], layer: int, d: int) -> tuple[Tensor, ...]:
        return tuple(part[layer * self.request.directions + d] for part in states)

    def ends_reset(self, d: int) -> Tensor | None:
        """`[B, 1]`: where the reverse direction is re-initialised after its last step, the first in time."""
        return self.shared[False]["starts"][0] if d == 1 and self.request.reset is not None else None

    def forward(self, keep: bool) -> Forward:
        """Run layer after layer; values and parts are there only if they are to be kept."""
        request, initial = self.request, self.request.initial_state()
        if self.steps == 0:
            return self._without_steps(initial, keep)
        wanted = (*self.cell.values, *self.cell.kept_parts) if keep else ("h",)
        runs: dict[Place, Run] = {}
        x = self.x
        for layer in range(request.layers):
            entering = self.layer_input(layer, x)
            for d in range(request.directions):
                state = self.rows(initial, layer, d)
                runs[layer, d] = self._run(layer, d, entering, state, wanted)
            own = torch.cat([runs[layer, d].values["h"] for d in range(request.directions)], dim=2)
            x = output = self.layer_output(layer, own, x)
        states = [torch.stack([runs[p].state[k] for p in self.places]) for k in range(len(self.cell.states))]
        dtype = self.original.like.dtype
        values = self._stacked({p: one.values for p, one in runs.items()}) if keep else {}
        parts = self._stacked({p: one.parts for p, one in runs.items()}) if keep else {}
        return Forward(output.to(dtype), tuple(state.to(dtype) for state in states), values, parts)

    def _run(
        self,
        layer: int,
        d: int,
        x: Tensor | Entries,
        state: tuple[Tensor, ...],
        wanted: tuple[str, ...],
    ) -> Run:
        direction = self.directions[layer, d]
        result = run(direction, x, state, wanted)
        ends = self.ends_reset(d)
        if ends is None:
            return result
        starts = [direction.fixed[f"{state}_start"] for state in self.cell.states]
        final = (torch.where(ends, start, part) for start, part in zip(starts, result.state, strict=True))
        return replace(result, state=tuple(final))

    def _without_steps(self, initial: tuple[Tensor, ...], keep: bool) -> Forward:
        request, dtype = self.request, self.original.like.dtype

        def empty(width: int) -> Tensor:
            return self.like.new_zeros(request.layers, request.directions, 0, self.batch, width)

        output = self.like.new_zeros(0, self.batch, request.width * request.directions)
        values = {name: empty(request.width_of(name)) for name in self.cell.values if keep}
        parts = {name: empty(request.hidden) for name in self.cell.kept_parts if keep}
        return Forward(output.to(dtype), tuple(part.to(dtype).clone() for part in initial), values, parts)

    def _stacked(self, kept: dict[Place, Named]) -> Named:
        """`[L, D, T, B, width]` by name; what was stacked is let go at once."""
        layers, directions = self.request.layers, self.request.directions
        stacked = {}
        for name in list(kept[0, 0]):
            parts = [kept[place].pop(name) for place in self.places]
            whole = parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)
            stacked[name] = whole.unflatten(0, (layers, directions))
        return stacked
