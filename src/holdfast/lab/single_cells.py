"""Networks of one memory cell each, side by side in one layer: as many restarts for the price of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from holdfast.nn.lstm import LSTM

BIASES: Mapping[str, float] = {"f": -2.0, "o": 2.0}
"""What the biases of the gates start around; others start around 0 (Gers et al. 2002, section 3)."""


class SingleCells(nn.Module):
    """N networks, each with one input, one memory cell and one output; none sees another.

    They share a layer of N units whose matrices are diagonal. Column n of every parameter belongs to network
    n, and its rows are all that one network learns: 17 numbers with peepholes, 14 without.

    Args:
        cell: of all of them: `"peephole"`, `"lstm"`, `"rnn"`, ...
        networks: N.
        biases: by gate, what these start around; 0 where a gate is not named.
        truncated: whether gradients stop at the h that re-enters, as in the papers until 2002; else they are
            those of full back-propagation through time.
        spread: first values are uniform between minus this and this, around the biases of the gates.
    """

    def __init__(
        self,
        cell: str,
        networks: int,
        *,
        biases: Mapping[str, float] = BIASES,
        truncated: bool = False,
        spread: float = 0.3,
    ) -> None:
        super().__init__()
        self.truncated = truncated
        self.layer = LSTM(2 * networks, networks, cell=cell).requires_grad_(False)
        gates = self.layer.cell.gates
        rows = {name: value.shape[0] // networks for name, value in self._own_weights().items()}
        self.columns = nn.ParameterDict(
            {
                name: torch.empty(count, networks).uniform_(-spread, spread)
                for name, count in rows.items()
                if name != "bias_hh"
            }
        )
        self.head = nn.Parameter(torch.empty(2, networks).uniform_(-spread, spread))
        with torch.no_grad():
            for row, gate in enumerate(gates):
                self.columns["bias_ih"][row] += biases.get(gate, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """What the outputs are before they are squashed, `[T, B, N]`; x is `[T, B, N]`.

        With `truncated`, the layer runs twice: once to know h, and once with that h as an input, so that the
        gradient runs through the cell alone.
        """
        nothing = torch.zeros_like(x)
        if not self.truncated:
            return self._read(x, nothing, h_from_outside=False)
        with torch.no_grad():
            h = self._run(x, nothing, h_from_outside=False)
        return self._read(x, torch.cat((nothing[:1], h[:-1])), h_from_outside=True)

    def _read(self, x: Tensor, h: Tensor, *, h_from_outside: bool) -> Tensor:
        return self._run(x, h, h_from_outside=h_from_outside) * self.head[0] + self.head[1]

    def _run(self, x: Tensor, h: Tensor, *, h_from_outside: bool) -> Tensor:
        """h after each step; what re-enters is h itself, or `h` `[T, B, N]` from outside."""
        own = self._own_weights()
        inside, outside = (
            torch.diag_embed(self.columns[name]).flatten(0, 1) for name in ("weight_hh", "weight_ih")
        )
        nothing = torch.zeros_like(inside)
        for name, values in self.columns.items():
            own[name] = values.reshape(-1)
        own["weight_ih"] = torch.cat((outside, inside if h_from_outside else nothing), 1)
        own["weight_hh"] = nothing if h_from_outside else inside
        output, _ = self.layer(torch.cat((x, h), 2), weights=[[own]])
        return cast(Tensor, output)

    @property
    def numbers_of_one(self) -> int:
        """How many numbers one network learns."""
        return sum(values.shape[0] for values in self.learnt())

    def learnt(self) -> Iterator[Tensor]:
        """All that is learnt: `[rows, N]` each."""
        yield from self.columns.values()
        yield self.head

    @torch.no_grad()
    def clip(self, norm: float) -> None:
        """Clip the gradient of each network to a norm of its own; one that is not finite counts as zero."""
        gradients = [values.grad for values in self.learnt() if values.grad is not None]
        squares = torch.stack([gradient.square().sum(0) for gradient in gradients]).sum(0)
        factor = (norm / squares.sqrt().clamp(min=1e-12)).clamp(max=1)
        for gradient in gradients:
            gradient.copy_(torch.where(squares.isfinite(), gradient * factor, 0))

    def _own_weights(self) -> dict[str, Tensor]:
        """The tensors of the layer by name; biases of the recurrent part stay zero."""
        ((own,),) = self.layer.weights()
        return {name: torch.zeros_like(value) for name, value in own.items()}
