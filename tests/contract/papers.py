"""One step of every cell, typed by hand from its paper, for one row of a batch.

A step takes the pre-activations `[H]` of its gates in order (or, with `parts`, W x, R h and the biases as
`[G*H]` each), the state before, the cell's own weights, and what modifiers do to a value: `drop` to the
candidate g and `clip` to the cell state. It returns every value by name; those named like a
state are the new state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, sigmoid, tanh

Named = dict[str, Tensor]
Change = Callable[[Tensor], Tensor]
Step = Callable[[tuple[Tensor, ...], Named, Named, Change, Change], Named]


@dataclass(frozen=True)
class Paper:
    """A step with what its weights look like: `own` maps a name to (row blocks, column blocks or 0)."""

    step: Step
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parts: bool
    own: dict[str, tuple[int, int]]


PAPERS: dict[str, Paper] = {}


def paper(
    gates: str = "ifgo",
    states: str = "hc",
    *,
    name: str | None = None,
    parts: bool = False,
    **own: int | tuple[int, int],
) -> Callable[[Step], Step]:
    """Register a step as that of the cell of this name, by default that of its function."""

    def register(step: Step) -> Step:
        blocks = {key: (size, 0) if isinstance(size, int) else size for key, size in own.items()}
        PAPERS[name or step.__name__] = Paper(step, tuple(gates), tuple(states), parts, blocks)
        return step

    return register


def see(own: Named, c: Tensor) -> tuple[Tensor, ...]:
    """What each peephole adds, by row block."""
    return tuple(weight * c for weight in own["weight_peephole"].split(c.numel()))


def weight_of(own: Named, block: int, c: Tensor) -> Tensor:
    return own["weight_peephole"].split(c.numel())[block]


@paper()
def lstm(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Gers et al. 2000."""
    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), sigmoid(z[3])
    c = clip(f * before["c"] + i * drop(g))
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper("igo")
def original(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Hochreiter & Schmidhuber 1997: the cell state only adds."""
    i, g, o = sigmoid(z[0]), tanh(z[1]), sigmoid(z[2])
    c = clip(before["c"] + i * drop(g))
    return {"i": i, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper(weight_peephole=3)
def peephole(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Gers & Schmidhuber 2000."""
    see_i, see_f, _ = see(own, before["c"])
    i, f, g = sigmoid(z[0] + see_i), sigmoid(z[1] + see_f), tanh(z[2])
    c = clip(f * before["c"] + i * drop(g))
    o = sigmoid(z[3] + weight_of(own, 2, c) * c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper("fgo")
def coupled(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """What is forgotten makes room for what is new; without peepholes."""
    f, g, o = sigmoid(z[0]), tanh(z[1]), sigmoid(z[2])
    c = clip(f * before["c"] + (1 - f) * drop(g))
    return {"f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


def normalised(a: Tensor) -> Tensor:
    """Ba, Kiros & Hinton 2016: mean 0 and variance 1 over the units."""
    centred = a - a.mean()
    return centred / torch.sqrt((centred * centred).mean() + 1e-5)


@paper(parts=True, gain_ih=4, gain_hh=4, gain_c=1, bias_c=1)
def layernorm(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Ba, Kiros & Hinton 2016, equations 20 to 22."""
    from_input, recurrent, bias = z
    whole = own["gain_ih"] * normalised(from_input) + own["gain_hh"] * normalised(recurrent) + bias
    z_i, z_f, z_g, z_o = whole.chunk(4)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c = clip(f * before["c"] + i * drop(g))
    return {
        "i": i, "f": f, "g": g, "o": o, "c": c, "h": o * tanh(own["gain_c"] * normalised(c) + own["bias_c"])
    }  # fmt: skip


@paper("g", "h")
def rnn(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Elman 1990."""
    g = tanh(z[0])
    return {"g": g, "h": drop(g)}


@paper("fgo", weight_peephole=2)
def no_input_gate(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Greff et al. 2017, NIG: i = 1."""
    see_f, _ = see(own, before["c"])
    f, g = sigmoid(z[0] + see_f), tanh(z[1])
    c = clip(f * before["c"] + drop(g))
    o = sigmoid(z[2] + weight_of(own, 1, c) * c)
    return {"f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper("igo", weight_peephole=2)
def no_forget_gate(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Greff et al. 2017, NFG: f = 1."""
    see_i, _ = see(own, before["c"])
    i, g = sigmoid(z[0] + see_i), tanh(z[1])
    c = clip(before["c"] + i * drop(g))
    o = sigmoid(z[2] + weight_of(own, 1, c) * c)
    return {"i": i, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper("ifg", weight_peephole=2)
def no_output_gate(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Greff et al. 2017, NOG: o = 1."""
    see_i, see_f = see(own, before["c"])
    i, f, g = sigmoid(z[0] + see_i), sigmoid(z[1] + see_f), tanh(z[2])
    c = clip(f * before["c"] + i * drop(g))
    return {"i": i, "f": f, "g": g, "c": c, "h": tanh(c)}


@paper(weight_peephole=3)
def no_input_activation(
    z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change
) -> Named:
    """Greff et al. 2017, NIAF: the candidate enters as it is."""
    see_i, see_f, _ = see(own, before["c"])
    i, f, g = sigmoid(z[0] + see_i), sigmoid(z[1] + see_f), z[2]
    c = clip(f * before["c"] + i * drop(g))
    o = sigmoid(z[3] + weight_of(own, 2, c) * c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper(weight_peephole=3)
def no_output_activation(
    z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change
) -> Named:
    """Greff et al. 2017, NOAF: the cell state leaves as it is."""
    see_i, see_f, _ = see(own, before["c"])
    i, f, g = sigmoid(z[0] + see_i), sigmoid(z[1] + see_f), tanh(z[2])
    c = clip(f * before["c"] + i * drop(g))
    o = sigmoid(z[3] + weight_of(own, 2, c) * c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * c}


@paper("fgo", weight_peephole=2)
def coupled_peephole(z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change) -> Named:
    """Greff et al. 2017, CIFG."""
    see_f, _ = see(own, before["c"])
    f, g = sigmoid(z[0] + see_f), tanh(z[1])
    c = clip(f * before["c"] + (1 - f) * drop(g))
    o = sigmoid(z[2] + weight_of(own, 1, c) * c)
    return {"f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}


@paper(states="hcifo", weight_peephole=3, weight_gates=(3, 3))
def full_gate_recurrence(
    z: tuple[Tensor, ...], before: Named, own: Named, drop: Change, clip: Change
) -> Named:
    """Greff et al. 2017, FGR: the three gates see the three gates of the step before."""
    seen = own["weight_gates"] @ torch.cat([before["i"], before["f"], before["o"]])
    more_i, more_f, more_o = seen.chunk(3)
    see_i, see_f, _ = see(own, before["c"])
    i, f, g = sigmoid(z[0] + more_i + see_i), sigmoid(z[1] + more_f + see_f), tanh(z[2])
    c = clip(f * before["c"] + i * drop(g))
    o = sigmoid(z[3] + more_o + weight_of(own, 2, c) * c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * tanh(c)}
