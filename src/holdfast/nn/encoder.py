"""Stacked LSTM layers that read long sequences window by window."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from holdfast.kernels import explain
from holdfast.kernels.checkpoints import Recompute
from holdfast.nn.lstm import LSTM
from holdfast.nn.regularise import LockedDropout


class Encoder(nn.Module):
    """A stack of (bi)directional LSTM layers with locked dropout before each.

    A sequence longer than `window` steps is read in windows: the forward state is carried from one
    window to the next, gradients stop at the border (truncated back-propagation through time), and the
    reverse direction starts anew in each window. A window gives the same result whether or not others follow.

    Args:
        input_size: features of a step, I.
        hidden_size: hidden units per direction, H.
        layers: stacked layers, L.
        bidirectional: whether each layer also reads backwards.
        cell: name of the cell, see `holdfast.cells`.
        dropouts: probabilities of locked dropout, on the input of the first layer and between layers.
        weight_drop: dropout on the recurrent weights, one mask per layer for all windows of a call.
        window: steps after which the gradient is cut.
        recompute: as in `holdfast.LSTM`, within each window.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        bidirectional: bool = True,
        cell: str = "lstm",
        dropouts: tuple[float, float] = (0.0, 0.0),
        weight_drop: float = 0.0,
        window: int = 512,
        recompute: Recompute = None,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.out_features = hidden_size * directions
        self.window = window
        widths = [input_size] + [self.out_features] * (layers - 1)
        self.dropouts = nn.ModuleList(LockedDropout(dropouts[min(k, 1)]) for k in range(layers))
        self.layers = nn.ModuleList(
            LSTM(
                width,
                hidden_size,
                bidirectional=bidirectional,
                cell=cell,
                weight_drop=weight_drop,
                recompute=recompute,
            )
            for width in widths
        )

    def forward(self, x: Tensor, lengths: Tensor, *, cut: bool = True) -> Tensor:
        """Output `[T, B, D*H]` of every step of `x` `[T, B, I]` with `lengths` `[B]`; zeros in padding.

        With `cut=False` the gradient passes the borders of windows: to look at it, not to learn from it.
        """
        for dropout, layer in zip(self.dropouts, self.layers, strict=True):
            x = self._read(layer, dropout(x), lengths, cut)
        return x

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Each named value of the cell over `x` `[T, 1, I]`, `[L, D, T, 1, H]`, at evaluation."""
        traces = []
        for layer in self.layers:
            state, outputs, windows = None, [], []
            for part in x.split(self.window):
                output, state, values = layer(part, state, return_trace=True)
                outputs.append(output)
                windows.append(values)
                state = self._carry(state)
            x = torch.cat(outputs)
            traces.append({name: torch.cat([values[name] for values in windows], 2) for name in windows[0]})
        return {name: torch.cat([trace[name] for trace in traces]) for name in traces[0]}

    def explain(self) -> str:
        """Which backend runs a padded batch of the first layer, and why not the others: `kernels.explain`."""
        first = cast(LSTM, self.layers[0])
        return explain(first, torch.zeros(2, 2, first.input_size), lengths=torch.tensor([2, 1]))

    def _read(self, layer: nn.Module, x: Tensor, lengths: Tensor, cut: bool) -> Tensor:
        if x.shape[0] <= self.window:
            output, _ = layer(x, lengths=lengths)
            return cast(Tensor, output)
        state, outputs, weights = None, [], cast(LSTM, layer).drawn_weights()
        for start in range(0, x.shape[0], self.window):
            left = (lengths - start).clamp(0, self.window)
            output, state = layer(x[start : start + self.window], state, lengths=left, weights=weights)
            outputs.append(output)
            state = self._carry(state, cut)
        return torch.cat(outputs)

    def _carry(self, state: Tensor | tuple[Tensor, ...], cut: bool = True) -> Tensor | tuple[Tensor, ...]:
        """The state that the next window starts from: forward (detached where cut), reverse zero."""
        if isinstance(state, tuple):
            return tuple(cast(Tensor, self._carry(part, cut)) for part in state)
        state = (state.detach() if cut else state).clone()
        state[1:] = 0.0
        return state
