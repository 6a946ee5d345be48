"""Back-propagation through a stack of layers, from what its forward pass kept."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from holdfast.kernels.direction import Run
from holdfast.kernels.direction_backward import DirectionGradients, run_backward
from holdfast.kernels.gather import Entries
from holdfast.kernels.interface import Forward, Gradients, Upstream, Wanted
from holdfast.kernels.stack import Place, Stack


def backward(stack: Stack, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
    """Differentiate `stack.forward(keep=True)`: the gradients of its results to those of its inputs."""
    request, initial = stack.request, stack.request.initial_state()
    d_state = [
        torch.zeros_like(part) if given is None else given.to(part.dtype)
        for part, given in zip(initial, upstream.state, strict=True)
    ]
    if stack.steps == 0:
        return _without_steps(stack, d_state)
    inputs = _layer_inputs(stack, kept)
    found: dict[Place, DirectionGradients] = {}
    d_output = None if upstream.output is None else upstream.output.to(stack.like.dtype)
    for layer in reversed(range(request.layers)):
        for d in range(request.directions):
            place = layer, d
            row = layer * request.directions + d
            reaching = {name: value[place] for name, value in upstream.values.items()}
            if d_output is not None:
                own = d_output[..., d * request.width : (d + 1) * request.width]
                reaching["h"] = reaching["h"] + own if "h" in reaching else own
            run = Run(
                (), *({name: v[place] for name, v in part.items()} for part in (kept.values, kept.parts))
            )
            found[place] = _through(
                stack,
                place,
                inputs[layer],
                run,
                reaching,
                tuple(part[row] for part in d_state),
                wanted=Wanted(wanted.x or layer > 0, wanted.weights),
            )
        d_output = _d_input(stack, layer, d_output, [found[layer, d].x for d in range(request.directions)])
    return _gathered(stack, found, d_output if wanted.x else None)


def _layer_inputs(stack: Stack, kept: Forward) -> list[Tensor | Entries]:
    """What each layer read, from the h that each one left behind."""
    inputs, x = [], stack.x
    for layer in range(stack.request.layers):
        inputs.append(stack.layer_input(layer, x))
        x = stack.layer_output(layer, torch.cat(list(kept.values["h"][layer]), dim=2), x)
    return inputs


def _through(
    stack: Stack,
    place: Place,
    x: Tensor | Entries,
    kept: Run,
    reaching: dict[str, Tensor],
    d_state: tuple[Tensor, ...],
    *,
    wanted: Wanted,
) -> DirectionGradients:
    """One direction, and the re-initialisation after the last step of a reverse one."""
    ends = stack.ends_reset(place[1])
    direction, initial = stack.directions[place], stack.rows(stack.request.initial_state(), *place)
    if ends is None:
        return run_backward(direction, x, initial, kept, reaching, d_state, wanted=wanted)
    back = tuple(torch.where(ends, 0.0, part) for part in d_state)
    gradients = run_backward(direction, x, initial, kept, reaching, back, wanted=wanted)
    start = dict(gradients.start)
    for name, part in zip(stack.cell.states, d_state, strict=True):
        own = torch.where(ends, part, 0.0).sum(0)
        start[f"{name}_start"] = start[f"{name}_start"] + own if f"{name}_start" in start else own
    return replace(gradients, start=start)


def _d_input(stack: Stack, layer: int, d_output: Tensor | None, d_own: list[Tensor | None]) -> Tensor | None:
    """The gradient of what the layer before gave: through the directions, and past them if residual."""
    parts = [part for part in d_own if part is not None]
    if not parts:
        return None
    d_input = stack.layer_input(layer, parts[0] if len(parts) == 1 else parts[0] + parts[1])
    past = stack.request.residual and layer > 0 and d_output is not None
    return d_input + d_output if past else d_input  # type: ignore[operator, return-value]


def _gathered(stack: Stack, found: dict[Place, DirectionGradients], d_x: Tensor | None) -> Gradients:
    """In the shapes and types of the call."""
    request, original = stack.request, stack.original
    states, dtype = stack.cell.states, original.like.dtype

    def start(k: int) -> Tensor:
        name, width = f"{states[k]}_start", request.width_of(states[k])
        return torch.stack(
            [
                found[p].start[name] if name in found[p].start else stack.like.new_zeros(width)
                for p in stack.places
            ]
        )

    if d_x is not None and request.lengths is not None:
        d_x = stack.without_padding(d_x)
    weights = [
        [
            {name: value.to(weights[name].dtype) for name, value in found[layer, d].weights.items()}
            for d, weights in enumerate(directions)
        ]
        for layer, directions in enumerate(original.weights)
    ]
    layout = (request.layers, request.directions)
    return Gradients(
        None if d_x is None else d_x.to(dtype),
        weights,
        tuple(torch.stack([found[p].state[k] for p in stack.places]).to(dtype) for k in range(len(states))),
        tuple(start(k).to(dtype) for k in range(len(states))),
        {
            name: torch.stack([found[p].taps[f"tap_{name}"] for p in stack.places])
            .unflatten(0, layout)
            .to(dtype)
            for name in original.taps or {}
        },
    )


def _without_steps(stack: Stack, d_state: list[Tensor]) -> Gradients:
    """No step ran: the state went through untouched."""
    original = stack.original
    rows = original.layers * original.directions
    return Gradients(
        None if original.by_index else torch.zeros_like(original.data),
        [
            [{name: torch.zeros_like(own) for name, own in d.items()} for d in directions]
            for directions in original.weights
        ],
        tuple(part.to(original.like.dtype).clone() for part in d_state),
        tuple(original.like.new_zeros(rows, original.width_of(state)) for state in stack.cell.states),
        {name: torch.zeros_like(tap) for name, tap in (original.taps or {}).items()},
    )
