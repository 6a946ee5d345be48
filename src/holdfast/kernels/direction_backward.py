"""Back-propagation through time over one direction of one layer, from the derived backward step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.kernels import gather
from holdfast.kernels.direction import Direction, Named, Run
from holdfast.kernels.gather import Entries
from holdfast.kernels.interface import Wanted
from holdfast.kernels.printed import printed


@dataclass(frozen=True)
class DirectionGradients:
    """The gradients of a direction's inputs: x `[T, B, I]`, state `[B, width]`, start `[width]` by symbol."""

    x: Tensor | None
    weights: Named
    state: tuple[Tensor, ...]
    start: Named
    taps: Named


def run_backward(
    direction: Direction,
    x: Tensor | Entries,
    state: tuple[Tensor, ...],
    kept: Run,
    upstream: Mapping[str, Tensor],
    d_state: tuple[Tensor, ...],
    *,
    wanted: Wanted,
) -> DirectionGradients:
    """Differentiate `direction.run`.

    Args:
        direction: what it ran with.
        x: its input `[T, B, I]`.
        state: what it started from.
        kept: all named values and parts.
        upstream: the gradients that reach the states at each step from outside, `[T, B, width]` by name.
        d_state: the gradient of its last state.
        wanted: whether the gradients of x and of the weights are.
    """
    before = {
        name: direction.before(kept.values[name], initial)
        for name, initial in zip(direction.cell.states, state, strict=True)
    }
    loop = _Loop(direction, kept, before)
    loop.run(_without_padding(direction, upstream), d_state)
    return loop.collected(x, wanted)


def _without_padding(direction: Direction, upstream: Mapping[str, Tensor]) -> Named:
    valid = direction.steps.get("valid")
    if valid is None:
        return dict(upstream)
    return {name: torch.where(valid, gradient, 0.0) for name, gradient in upstream.items()}


class _Loop:
    """The loop and what it sums up on its way."""

    def __init__(self, direction: Direction, kept: Run, before: Named) -> None:
        cell = direction.cell
        self.direction, self.cell, self.code = direction, cell, printed(cell)
        self.before = before
        read = [kept.values[name] for name in cell.values]
        read += [kept.parts[name] for name in cell.kept_parts]
        read += [before[name] for name in cell.old_states]
        self.read = [values.unbind(0) for values in read]
        self.fixed = [direction.fixed[name] for name in cell.fixed_inputs]
        self.steps = [direction.steps[name].unbind(0) for name in cell.step_inputs]
        self.entering_before = before["h"].unbind(0)
        self.entering_fixed = [direction.fixed[name] for name in cell.entering_fixed]
        self.entering_steps = [direction.steps[name].unbind(0) for name in cell.entering_steps]
        self.sums: Named = {}
        self.seen: dict[str, list[Tensor]] = {}
        self.state: tuple[Tensor, ...] = ()

    def run(self, upstream: Named, d_state: tuple[Tensor, ...]) -> None:
        """Backwards through the steps, from the gradient of the last state to that of the first."""
        from_outside = [upstream[name].unbind(0) if name in upstream else None for name in self.cell.states]
        for t in reversed(self.direction.order(len(self.entering_before))):
            reaching = [
                gradient if outside is None else gradient + outside[t]
                for gradient, outside in zip(d_state, from_outside, strict=True)
            ]
            d_state = self._step(t, reaching)
        self.state = d_state

    def _step(self, t: int, reaching: list[Tensor]) -> tuple[Tensor, ...]:
        arguments = [*(column[t] for column in self.read), *self.fixed, *(column[t] for column in self.steps)]
        results = self.code.step_backward(*reaching, *arguments)
        found = dict(zip(self.code.gradients, results, strict=True))
        d_products = self._products(found, reaching[0])
        for name, gradient in d_products.items():
            self.seen.setdefault(name, []).append(gradient)
        for tap in self.cell.graph.taps:
            self.seen.setdefault(tap, []).append(found[f"d_{tap}"])
        for name in self.cell.fixed_inputs:
            if f"d_{name}" in found:
                self._add(name, found[f"d_{name}"])
        d_entering = d_products["r"] @ self.direction.weights["weight_hh"]
        d_h_prev = self._through_entering(t, d_entering)
        if "d_h_prev" in found:
            d_h_prev = d_h_prev + found["d_h_prev"]
        others = [(found.get(f"d_{state}_prev"), state) for state in self.cell.states[1:]]
        return (d_h_prev, *(self._or_nothing(gradient, state) for gradient, state in others))

    def _or_nothing(self, gradient: Tensor | None, state: str) -> Tensor:
        return torch.zeros_like(self.before[state][0]) if gradient is None else gradient

    def _products(self, found: Named, like: Tensor) -> Named:
        """The gradients of W x, of R h and of the biases, `[B, G*H]`; one tensor where they are the same."""
        hidden = self.direction.weights["weight_hh"].size(0) // len(self.cell.gates)

        def joined(part: str) -> Tensor:
            names = (f"d_{part}_{g}" if g in self.cell.split else f"d_z_{g}" for g in self.cell.gates)
            gradients = [found.get(name) for name in names]
            nothing = like.new_zeros(like.size(0), hidden) if None in gradients else like
            return torch.cat([nothing if one is None else one for one in gradients], dim=1)

        whole = joined("b")
        if not self.cell.split:
            return {"x": whole, "r": whole, "b": whole}
        return {"x": joined("x"), "r": joined("r"), "b": whole}

    def _through_entering(self, t: int, d_entering: Tensor) -> Tensor:
        if self.cell.entering_inputs == ("h_prev",):
            return d_entering
        arguments = [*self.entering_fixed, *(column[t] for column in self.entering_steps)]
        results = self.code.entering_backward(d_entering, self.entering_before[t], *arguments)
        found = dict(zip(self.code.entering_gradients, results, strict=True))
        if "d_h_start" in found:
            self._add("h_start", found["d_h_start"])
        return found["d_h_prev"]

    def _add(self, name: str, gradient: Tensor) -> None:
        self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient

    def _all_steps(self, name: str) -> Tensor:
        steps = self.seen[name]
        return torch.stack(steps if self.direction.reverse else steps[::-1])

    def collected(self, x: Tensor | Entries, wanted: Wanted) -> DirectionGradients:
        """What was summed over the steps, and the products over all of them at once."""
        d_x = self._all_steps("x")
        starts = [f"{state}_start" for state in self.cell.states]
        return DirectionGradients(
            d_x @ self.direction.weights["weight_ih"] if wanted.x else None,
            self._of_weights(x, d_x) if wanted.weights else {},
            self.state,
            {name: self.sums[name].sum(0) for name in starts if name in self.sums},
            {tap: self._all_steps(tap) for tap in self.cell.graph.taps},
        )

    def _of_weights(self, x: Tensor | Entries, d_x: Tensor) -> Named:
        weights = self.direction.weights
        d_r = self._all_steps("r") if self.cell.split else d_x
        d_b = self._all_steps("b") if self.cell.split else d_x
        gradients = {
            "weight_ih": d_x.flatten(0, 1).t() @ x.flatten(0, 1)
            if isinstance(x, Tensor)
            else gather.product_backward(weights["weight_ih"], x, d_x),
            "weight_hh": d_r.flatten(0, 1).t() @ self._entering().flatten(0, 1),
        }
        if "bias_ih" in weights:
            gradients["bias_ih"] = d_b.sum((0, 1))
            gradients["bias_hh"] = gradients["bias_ih"].clone()
        gradients |= {matrix: self.sums[matrix] for matrix in self.cell.matrices}
        for parameter in self.cell.vectors:
            gradients[parameter.name] = torch.cat([self._summed(row, weights) for row in parameter.feeds])
        return gradients

    def _summed(self, row: str, weights: Mapping[str, Tensor]) -> Tensor:
        if row in self.sums:
            return self.sums[row].sum(0)
        return weights["weight_hh"].new_zeros(weights["weight_hh"].size(0) // len(self.cell.gates))

    def _entering(self) -> Tensor:
        """What entered `weight_hh` at each step, all at once."""
        if self.cell.entering_inputs == ("h_prev",):
            return self.before["h"]
        steps = [self.direction.steps[name] for name in self.cell.entering_steps]
        (entering,) = self.code.entering(self.before["h"], *self.entering_fixed, *steps)
        return entering
