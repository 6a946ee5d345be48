"""Each variant as a loop in torch that an expert would write, and the same through torch.compile.

One product for the inputs of all steps, `unbind` (a slice `x[t]` makes the backward pass quadratic in T), one
`addmm` a step, gates cut by `chunk`, masks drawn for all steps at once, one `stack` at the end. What is
compiled is the whole loop, or one step that Python then calls T times.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import torch
from problem import KEYWORDS, Problem, Side, Work
from torch import Tensor, nn
from torch.nn import functional as F

from peers.time_limit import limited
from peers.torch_layer import layer_work

# Beyond this, compiling the unrolled loop takes longer than anyone waits.
MOST_COMPILED_STEPS = 100
MOST_SECONDS = 300


class Loop(nn.Module):
    """The plain cell; a variant overrides what it does otherwise.

    Where the variant is random, `masks` gives one thing for each step and `step` uses it only in training.
    `c` is whatever is carried besides h.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.hidden_size = problem.shape.H
        self.options = KEYWORDS[problem.variant]
        for name, value in problem.weights.items():
            parameter = nn.Parameter(torch.from_numpy(value).clone())
            self.register_parameter(name.removesuffix("_l0"), parameter)
        self.train(problem.random)

    def masks(self, x: Tensor) -> Iterable[Tensor | None]:
        return repeat(None, x.size(0))

    def drop_entering(self, h: Tensor) -> Tensor | None:
        """The factor on the h that enters the recurrent product, for the whole sequence."""
        return None

    def start(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.new_zeros(x.size(1), self.weight_hh.size(1)), x.new_zeros(x.size(1), self.hidden_size)

    def project(self, x: Tensor) -> Tensor:
        """W x of all steps, with all that does not depend on h."""
        T, B, inputs = x.shape
        bias = self.bias_ih + self.bias_hh
        return torch.addmm(bias, x.reshape(T * B, inputs), self.weight_ih.t()).view(T, B, -1)

    def matrices(self) -> tuple[Tensor, ...]:
        """What a step multiplies by."""
        return (self.weight_hh.t(),)

    def recur(self, z: Tensor, entering: Tensor, recurrent: Tensor) -> Tensor:
        return torch.addmm(z, entering, recurrent)

    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        i, f, g, o = z.chunk(4, 1)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        return torch.sigmoid(o) * torch.tanh(c), c

    def advance(
        self, z: Tensor, entering: Tensor, h: Tensor, c: Any, mask: Tensor | None, *matrices: Tensor
    ) -> tuple[Tensor, Any]:
        return self.step(self.recur(z, entering, *matrices), h, c, mask)

    def forward(self, x: Tensor) -> Tensor:
        projected, matrices = self.project(x), self.matrices()
        h, c = self.start(x)
        factor = self.drop_entering(h)
        outputs = []
        for z, mask in zip(projected.unbind(), self.masks(x), strict=True):
            entering = h if factor is None else h * factor
            h, c = self.advance(z, entering, h, c, mask, *matrices)
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


class LayerNorm(Loop):
    """Ba et al. 2016: the bias is that of the normalised W x, so that it costs nothing of its own."""

    def project(self, x: Tensor) -> Tensor:
        products = x.reshape(-1, x.size(2)) @ self.weight_ih.t()
        normalised = F.layer_norm(products, products.shape[1:], self.gain_ih, self.bias_ih + self.bias_hh)
        return normalised.view(x.size(0), x.size(1), -1)

    def recur(self, z: Tensor, entering: Tensor, recurrent: Tensor) -> Tensor:
        return z + F.layer_norm(entering @ recurrent, z.shape[1:], self.gain_hh)

    def step(self, z: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        i, f, g, o = z.chunk(4, 1)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        leaving = F.layer_norm(c, c.shape[1:], self.gain_c, self.bias_c)
        return torch.sigmoid(o) * torch.tanh(leaving), c


class Projection(Loop):
    """Sak et al. 2014."""

    def matrices(self) -> tuple[Tensor, ...]:
        return (*super().matrices(), self.weight_hr.t())

    def advance(
        self, z: Tensor, entering: Tensor, h: Tensor, c: Any, mask: Tensor | None, *matrices: Tensor
    ) -> tuple[Tensor, Any]:
        *others, projection = matrices
        h, c = super().advance(z, entering, h, c, mask, *others)
        return h @ projection, c


class LayerNormProjection(Projection, LayerNorm):
    """What is projected is h."""


class FullGateRecurrence(Loop):
    """Greff et al. 2017: the old i, f and o enter the new ones, besides peepholes."""

    def start(self, x: Tensor) -> tuple[Tensor, Any]:
        h, c = super().start(x)
        return h, (c, x.new_zeros(x.size(1), 3 * self.hidden_size))

    def matrices(self) -> tuple[Tensor, ...]:
        return (*super().matrices(), self.weight_gates.t())

    def advance(
        self, z: Tensor, entering: Tensor, h: Tensor, c: Any, mask: Tensor | None, *matrices: Tensor
    ) -> tuple[Tensor, Any]:
        recurrent, of_gates = matrices
        c, gates = c
        p_i, p_f, p_o = self.weight_peephole.chunk(3)
        i, f, g, o = self.recur(z, entering, recurrent).chunk(4, 1)
        more_i, more_f, more_o = (gates @ of_gates).chunk(3, 1)
        i = torch.sigmoid(torch.addcmul(i + more_i, p_i, c))
        f = torch.sigmoid(torch.addcmul(f + more_f, p_f, c))
        c = torch.addcmul(f * c, i, torch.tanh(g))
        o = torch.sigmoid(torch.addcmul(o + more_o, p_o, c))
        return o * torch.tanh(c), (c, torch.cat([i, f, o], 1))


LOOPS = {
    "plain": Loop,
    "peephole": Peephole,
    "coupled": Coupled,
    "zoneout": Zoneout,
    "dropout of g": DropoutOfG,
    "dropout of h": DropoutOfH,
    "layer norm": LayerNorm,
    "projection": Projection,
    "layer norm, projection": LayerNormProjection,
    "full gate recurrence": FullGateRecurrence,
}


def build(problem: Problem) -> Work:
    loop = LOOPS[problem.variant](problem)
    return layer_work(problem, loop, loop)


def build_compiled(problem: Problem) -> Work:
    loop = LOOPS[problem.variant](problem)
    return _compiled(layer_work(problem, loop, torch.compile(loop, dynamic=False, fullgraph=True)))


def build_compiled_steps(problem: Problem) -> Work:
    loop = LOOPS[problem.variant](problem)
    loop.advance = torch.compile(loop.advance, dynamic=False, fullgraph=True)
    return _compiled(layer_work(problem, loop, loop))


def _compiled(work: Work) -> Work:
    """The work after its first call, which compiles it."""
    torch.compiler.reset()  # else it gives up after some shapes, and runs the rest as they are
    with limited(MOST_SECONDS, "compiling"):
        work.call()
    return work


def _too_long(problem: Problem) -> str | None:
    too_long = problem.shape.T > MOST_COMPILED_STEPS
    return f"unrolling more than {MOST_COMPILED_STEPS} steps takes too long" if too_long else None


LOOP = Side("loop in torch", "torch", build)
COMPILED = Side("loop in torch, compiled", "torch", build_compiled, refuses=_too_long)
COMPILED_STEPS = Side("loop in torch, compiled steps", "torch", build_compiled_steps)
