"""Each variant as a loop in torch that an expert would write, and the same through torch.compile.

One product for the inputs of all steps, `unbind` (a slice `x[t]` makes the backward pass quadratic in T), one
`addmm` a step, gates cut by `chunk`, masks drawn for all steps at once, one `stack` at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import torch
from problem import VARIANTS, Problem, Side, Work
from torch import Tensor, nn

from peers.torch_layer import layer_work

# Beyond this, compiling the unrolled loop takes longer than anyone waits.
MOST_COMPILED_STEPS = 100


class Loop(nn.Module):
    """The plain cell; a variant overrides `masks`, `entering` or `step`.

    Where the variant is random, `masks` gives one thing for each step and `step` uses it only in training.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.hidden_size = problem.shape.H
        self.options = VARIANTS[problem.variant]
        for name, value in problem.weights.items():
            parameter = nn.Parameter(torch.from_numpy(value).clone())
            self.register_parameter(name.removesuffix("_l0"), parameter)
        self.train(problem.random)

    def masks(self, x: Tensor) -> Iterable[Tensor | None]:
        return repeat(None, x.size(0))

    def drop_entering(self, h: Tensor) -> Tensor | None:
        """The factor on the h that enters the recurrent product, for the whole sequence."""
        return None

    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        i, f, g, o = z.chunk(4, 1)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, x: Tensor) -> Tensor:
        T, B, inputs = x.shape
        bias = self.bias_ih + self.bias_hh
        projected = torch.addmm(bias, x.reshape(T * B, inputs), self.weight_ih.t()).view(T, B, -1)
        recurrent = self.weight_hh.t()
        h = c = x.new_zeros(B, self.hidden_size)
        factor = self.drop_entering(h)
        outputs = []
        for z, mask in zip(projected.unbind(), self.masks(x), strict=True):
            entering = h if factor is None else h * factor
            h, c = self.step(torch.addmm(z, entering, recurrent), h, c, mask)
            outputs.append(h)
        return torch.stack(outputs)


class Peephole(Loop):
    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        p_i, p_f, p_o = self.weight_peephole.chunk(3)
        i, f, g, o = z.chunk(4, 1)
        i, f = torch.sigmoid(torch.addcmul(i, p_i, c)), torch.sigmoid(torch.addcmul(f, p_f, c))
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return torch.sigmoid(torch.addcmul(o, p_o, c)) * torch.tanh(c), c


class Coupled(Loop):
    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        f, g, o = z.chunk(3, 1)
        c = torch.lerp(torch.tanh(g), c, torch.sigmoid(f))
        return torch.sigmoid(o) * torch.tanh(c), c


class Zoneout(Loop):
    """One share for h and c alike."""

    @property
    def share(self) -> float:
        return float(self.options["zoneout"][0])

    def masks(self, x: Tensor) -> Iterable[Tensor | None]:
        if not self.training:
            return super().masks(x)
        sizes = (x.size(0), 2, x.size(1), self.hidden_size)
        return torch.empty(sizes, dtype=torch.bool).bernoulli_(self.share).unbind()

    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        h_next, c_next = super().step(z, h, c, None)
        if mask is None:
            return torch.lerp(h_next, h, self.share), torch.lerp(c_next, c, self.share)
        keep_h, keep_c = mask.unbind()
        return torch.where(keep_h, h, h_next), torch.where(keep_c, c, c_next)


class DropoutOfG(Loop):
    """Semeniuta et al. 2016: a fresh mask on the candidate at each step."""

    def masks(self, x: Tensor) -> Iterable[Tensor | None]:
        if not self.training:
            return super().masks(x)
        kept = 1 - self.options["recurrent_dropout"]
        mask = x.new_empty(x.size(0), x.size(1), self.hidden_size).bernoulli_(kept)
        return mask.div_(kept).unbind()

    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        i, f, g, o = z.chunk(4, 1)
        g = torch.tanh(g)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), g if mask is None else g * mask)
        return torch.sigmoid(o) * torch.tanh(c), c


class DropoutOfH(Loop):
    """Gal and Ghahramani 2016: one mask for each sequence on the h that enters the product."""

    def drop_entering(self, h: Tensor) -> Tensor | None:
        kept = 1 - self.options["recurrent_dropout"]["h"]
        return torch.empty_like(h).bernoulli_(kept).div_(kept) if self.training else None


LOOPS = {
    "plain": Loop,
    "peephole": Peephole,
    "coupled": Coupled,
    "zoneout": Zoneout,
    "dropout of g": DropoutOfG,
    "dropout of h": DropoutOfH,
}


def build(problem: Problem) -> Work:
    loop = LOOPS[problem.variant](problem)
    return layer_work(problem, loop, loop)


def build_compiled(problem: Problem) -> Work:
    torch.compiler.reset()  # else it gives up after some shapes, and runs the rest as they are
    loop = LOOPS[problem.variant](problem)
    return layer_work(problem, loop, torch.compile(loop, dynamic=False, fullgraph=True))


def _too_long(problem: Problem) -> str | None:
    too_long = problem.shape.T > MOST_COMPILED_STEPS
    return f"unrolling more than {MOST_COMPILED_STEPS} steps takes too long" if too_long else None


LOOP = Side("loop in torch", "torch", build)
COMPILED = Side("loop in torch, compiled", "torch", build_compiled, refuses=_too_long)
