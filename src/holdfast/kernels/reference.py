"""The reference backend: any cell, type and device, as plain loops over time in torch; the oracle.

The step is the torch code printed from the cell's equations, the backward step the code printed from their
derivative.
"""

from __future__ import annotations

from holdfast.kernels.interface import Forward, Gradients, Request, Upstream, Wanted
from holdfast.kernels.stack import Stack
from holdfast.kernels.stack_backward import backward


class ReferenceBackend:
    """Runs every cell everywhere; slower than the others."""

    name = "reference"
    gives_new_tensors = False
    summary = "a loop over time in torch from the cell's equations"

    def available(self) -> str | None:
        return None

    def supports(self, request: Request) -> str | None:
        return None

    def keeps(self, request: Request) -> bool:
        return not request.recompute

    def keeps_besides(self, request: Request) -> dict[str, int]:
        return {}

    def forward(self, request: Request, keep: bool) -> Forward:
        return Stack(request).forward(keep and self.keeps(request))

    def backward(self, request: Request, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
        """With `recompute`, whatever k is, it has kept nothing and runs the whole call again."""
        stack = Stack(request)
        return backward(stack, kept if self.keeps(request) else stack.forward(True), upstream, wanted)
