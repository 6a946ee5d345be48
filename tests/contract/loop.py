"""The whole recurrence by hand: row by row and step by step, each row over its own valid steps; no masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from contract.cases import (
    CLIP,
    DROPOUT,
    GAL,
    NOISE_SEED,
    SEMENIUTA,
    ZONEOUT,
    Case,
    reset_of,
    start_of,
    state_of,
    weights_of,
)
from contract.papers import Named
from contract.philox_by_hand import CELL_DROPOUT, STATE_DROPOUT, ZONEOUT_C, ZONEOUT_H, mask
from torch import Tensor
from torch.nn import functional

TORCH_SEED = 5  # of the generator that dropout between layers draws from; torch.manual_seed itself is slow


@dataclass(frozen=True)
class Place:
    """One row in one direction of one layer."""

    layer: int
    d: int
    b: int

    def drawn(self, width: int, probability: float, t: int, stream: int) -> Tensor:
        return mask(width, probability, NOISE_SEED, self.layer, self.d, t, self.b, stream)


@dataclass(frozen=True)
class Moment:
    """What happened in one step: the pre-activations (or what adds to them) and every named value."""

    z: Tensor
    values: Named


@dataclass(frozen=True)
class Run:
    """The results by name, and moments[place][t] of the valid steps."""

    results: Named
    moments: dict[Place, dict[int, Moment]]


def product(matrix: Tensor, vector: Tensor, *, order: int) -> Tensor:
    """The same sums in another order: as they stand, from the end, or in a random one."""
    if order == 0:
        return matrix @ vector
    columns = vector.numel()
    shuffled = torch.randperm(columns, generator=torch.Generator().manual_seed(order))
    places = torch.arange(columns).flip(0) if order == 1 else shuffled
    return matrix[:, places] @ vector[places]


def dropped(value: Tensor, drop: Tensor, probability: float) -> Tensor:
    return torch.where(drop, 0.0, value / (1 - probability))


def began(resets: list[bool], t: int) -> int:
    """The step in which the sequence that t belongs to began."""
    return max((s for s in range(t + 1) if resets[s]), default=0)


def entering_state(case: Case, place: Place, h: Tensor, t: int, resets: list[bool]) -> Tensor:
    """The h that meets the recurrent weights."""
    if not case.gal:
        return h
    return dropped(h, place.drawn(h.numel(), GAL, began(resets, t), STATE_DROPOUT), GAL)


def zoned(case: Case, place: Place, t: int, before: Named, new: Named) -> Named:
    """The state that is carried on."""
    found = dict(new)
    for name, probability, stream in (("h", ZONEOUT[0], ZONEOUT_H), ("c", ZONEOUT[1], ZONEOUT_C)):
        if name in before and case.zoneout:
            keep = place.drawn(new[name].numel(), probability, t, stream)
            found[name] = torch.where(keep, before[name], new[name])
        elif name in before and case.expected_zoneout:
            found[name] = probability * before[name] + (1 - probability) * new[name]
    return found


def one_step(
    case: Case, place: Place, t: int, x: Tensor, own: Named, before: Named, resets: list[bool], order: int
) -> Moment:
    h = entering_state(case, place, before["h"], t, resets)
    from_input = product(own["weight_ih"], x, order=order)
    recurrent = product(own["weight_hh"], h, order=order)
    bias = torch.zeros_like(from_input) if case.no_bias else own["bias_ih"] + own["bias_hh"]
    # A part that nothing else uses, so that its gradient is that of the whole pre-activation.
    bias = bias + torch.zeros_like(bias).requires_grad_()
    whole = bias if case.paper.parts else from_input + recurrent + bias
    z = (from_input, recurrent, bias) if case.paper.parts else whole.split(case.hidden)

    def drop(g: Tensor) -> Tensor:
        if not case.semeniuta:
            return g
        return dropped(g, place.drawn(case.hidden, SEMENIUTA, t, CELL_DROPOUT), SEMENIUTA)

    clip = partial(torch.clamp, min=-CLIP, max=CLIP) if case.clip else lambda c: c
    values = case.paper.step(z, before, own, drop, clip)
    if case.projection:
        values["h"] = product(own["weight_hr"], values["h"], order=order)
    return Moment(whole, zoned(case, place, t, before, values))


def one_row(
    case: Case, place: Place, entering: list[Tensor], own: Named, given: Named, start: Named, order: int
) -> tuple[dict[int, Moment], Named]:
    """The moments of a row's valid steps, and the state after the last of them in the direction's order."""
    reset = reset_of(case)
    resets = [False] * case.steps if reset is None else reset[:, place.b].tolist()
    state, moments = given, {}
    steps = range(case.row_lengths[place.b])
    for t in steps if place.d == 0 else reversed(steps):
        if place.d == 0 and resets[t]:
            state = start
        moments[t] = one_step(case, place, t, entering[t], own, state, resets, order)
        state = {name: moments[t].values[name] for name in case.paper.states}
        if place.d == 1 and resets[t]:
            state = start
    return moments, state


def places(case: Case, layer: int) -> Iterator[Place]:
    return itertools.starmap(
        partial(Place, layer), itertools.product(range(case.directions), range(case.batch))
    )


def zeros(width: int, like: Tensor) -> Tensor:
    return torch.zeros(width, dtype=like.dtype, device=like.device)


def layer_input(case: Case, layer: int, below: list[list[Tensor]]) -> list[list[Tensor]]:
    """What a layer is given, per row and step: dropout, in torch's order and from its generator."""
    if not case.dropout or layer == 0:
        return below
    one = below[0][0]
    factors = functional.dropout(torch.ones(case.steps, case.batch, one.numel(), dtype=one.dtype), DROPOUT)
    return [[value * factors[t, b] for t, value in enumerate(row)] for b, row in enumerate(below)]


def run(case: Case, named: Named, *, order: int = 0) -> Run:
    """The results of the whole stack: `output`, and `h_n`, `c_n`, ... for each state."""
    torch.default_generator.manual_seed(TORCH_SEED)
    x, states = named["x"], case.paper.states
    given, start, weights = state_of(case, named), start_of(case, named), weights_of(case, named)
    nothing = {name: zeros(case.width_of(name), x) for name in states}
    below = [list(x[:, b]) for b in range(case.batch)]
    moments: dict[Place, dict[int, Moment]] = {}
    final: dict[Place, Named] = {}
    for layer in range(case.layers):
        entering = layer_input(case, layer, below)
        for place in places(case, layer):
            row = layer * case.directions + place.d
            own_state = nothing
            if given is not None:
                own_state = {name: given[k][row, place.b] for k, name in enumerate(states)}
            own_start = nothing
            if start is not None:
                own_start = {name: start[k][row] for k, name in enumerate(states)}
            moments[place], final[place] = one_row(
                case,
                place,
                entering[place.b],
                weights[layer][place.d],
                own_state,
                own_start,
                order,
            )
        below = [
            [left_at(case, layer, b, t, moments, below) for t in range(case.steps)] for b in range(case.batch)
        ]
    results = {"output": torch.stack([torch.stack(row) for row in below], dim=1)}
    for name in states:
        rows = [[final[Place(layer, d, b)][name] for b in range(case.batch)] for layer, d in grid_of(case)]
        results[f"{name}_n"] = torch.stack([torch.stack(row) for row in rows])
    return Run(results, moments)


def left_at(
    case: Case,
    layer: int,
    b: int,
    t: int,
    moments: dict[Place, dict[int, Moment]],
    below: list[list[Tensor]],
) -> Tensor:
    """The output of a layer at one step of one row; zeros in padding."""
    if t >= case.row_lengths[b]:
        return zeros(case.width * case.directions, below[0][0])
    output = torch.cat([moments[Place(layer, d, b)][t].values["h"] for d in range(case.directions)])
    return output + below[b][t] if case.residual and layer > 0 else output


def grid_of(case: Case) -> Iterator[tuple[int, int]]:
    return itertools.product(range(case.layers), range(case.directions))


def trace_of(case: Case, done: Run, names: Iterable[str] | None = None) -> Named:
    """Each named value as `[L, D, T, B, width]`, zero in padding."""
    first = done.moments[Place(0, 0, 0)][0].values
    return {
        name: spread(case, {at: moment.values[name] for at, moment in every(done)}, first[name])
        for name in (first if names is None else names)
    }


def every(done: Run) -> Iterator[tuple[tuple[Place, int], Moment]]:
    for place, row in done.moments.items():
        for t, moment in row.items():
            yield (place, t), moment


def spread(case: Case, found: dict[tuple[Place, int], Tensor], like: Tensor) -> Tensor:
    """`[L, D, T, B, width]` of what there is, zero where there is nothing."""
    nothing = zeros(like.numel(), like)
    rows = itertools.product(range(case.layers), range(case.directions), range(case.steps), range(case.batch))
    flat = torch.stack([found.get((Place(layer, d, b), t), nothing) for layer, d, t, b in rows])
    return flat.unflatten(0, (case.layers, case.directions, case.steps, case.batch))


def gradient_trace_of(case: Case, done: Run, loss: Tensor) -> Named:
    """The gradient of the loss to each pre-activation, each h and each c, laid out like the trace."""
    carried = [name for name in case.paper.states if name in ("h", "c")]
    at = dict(every(done))
    wanted = [moment.z for moment in at.values()]
    wanted += [moment.values[name] for name in carried for moment in at.values()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True, materialize_grads=True)
    parts = dict(zip(("z", *carried), zip(*[iter(found)] * len(at), strict=True), strict=True))
    whole = spread(case, dict(zip(at, parts.pop("z"), strict=True)), wanted[0])
    named = dict(zip(case.paper.gates, whole.split(case.hidden, dim=-1), strict=True))
    for name, gradients in parts.items():
        named[name] = spread(case, dict(zip(at, gradients, strict=True)), gradients[0])
    return named
