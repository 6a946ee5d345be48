"""The layer: `torch.nn.LSTM` with more cells, lengths and a view of its gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from holdfast.errors import InputError
from holdfast.kernels import Request, Result, Weights, recurrence
from holdfast.nn.recurrent import Recurrent

Lengths = Tensor | Sequence[int]
States = tuple[Tensor, ...]
Trace = dict[str, Tensor]


class _Call(NamedTuple):
    """A call in the layout of the kernels: time first, batched, lengths as a tensor."""

    x: Tensor | PackedSequence
    state: States | None
    lengths: Tensor | None
    batched: bool


class LSTM(Recurrent):
    """A drop-in for `torch.nn.LSTM` that also runs other cells, takes lengths and shows its gates.

    Arguments, parameter names and order, first values under a seed, results, dropout masks and
    `state_dict` are those of `torch.nn.LSTM`; so are `all_weights`, `mode` and `_flat_weights`, to read but
    not to set. `torch.compile`, `torch.export` and `torch.jit.trace` take the layer, and in what they record
    lengths are not checked against T. TorchScript (`torch.jit.script`) is not promised.

    Args:
        input_size: I, the features of each step.
        hidden_size: H, the units of each layer.
        num_layers: L, the layers stacked on each other.
        bias: whether the two bias vectors of each layer exist.
        batch_first: whether x, output and trace are `[B, T, ...]` instead of `[T, B, ...]`; never the state.
        dropout: the probability of zeroing an element between two layers, in training only.
        bidirectional: whether a second direction runs from last to first step; outputs are concatenated.
        proj_size: P, the width that h is projected to in each step; 0 for no projection.
        device: where the parameters are created.
        dtype: their type.
        cell: the equations by name (`"lstm"`, `"peephole"`, `"rnn"`) or a `holdfast.cells.Cell`.
        weight_drop: the probability of zeroing a recurrent weight, one mask per call, in training only
            (DropConnect as in AWD-LSTM, Merity et al. 2018).
        backend: `"auto"`, or the backend that must run every call: see `holdfast.explain`.

    Raises:
        TypeError, ValueError: what `torch.nn.LSTM` refuses.
        ConfigError: no such cell or backend, or a cell that cannot be projected.

    Example:
        >>> layer = LSTM(8, 16, batch_first=True, bidirectional=True)
        >>> output, (h, c) = layer(torch.zeros(3, 5, 8), lengths=[5, 2, 4])
        >>> tuple(output.shape), tuple(h.shape)
        ((3, 5, 32), (2, 3, 16))
    """

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: States | None = None,
        *,
        lengths: Lengths | None = None,
        return_trace: bool = False,
        weights: Weights | None = None,
    ) -> tuple[Tensor | PackedSequence, States] | tuple[Tensor | PackedSequence, States, Trace]:
        """Run the layers over a batch of sequences.

        Args:
            input: `[T, B, I]`, `[B, T, I]` with `batch_first`, `[T, I]` for one sequence, or a
                `PackedSequence`.
            hx: what the sequence starts from, zeros when None: `(h, c)` with h `[L*D, B, P or H]` and c
                `[L*D, B, H]`, or `(h,)` for a cell without c such as `rnn`; without B for one sequence.
            lengths: `[B]` integers from 0 to T. Steps beyond a row's length are padding: never read, zero in
                the output, without gradient; the returned state is the one after the last valid step. The
                reverse direction starts at the last valid step. A row of length 0 keeps its state.
            return_trace: also return what happened inside.
            weights: the parameters to run with, `self.drawn_weights()` when None; calls that are given the
                same ones share the mask of `weight_drop`.

        Returns:
            `(output, state)` or `(output, state, trace)`. The output is `[T, B, D*(P or H)]` in the layout of
            `input` (packed if it was). The state is a tuple shaped like the one given, `State(h, c)` for
            cells with c. The trace maps each named value of the cell (`i f g o c h`) to
            `[L, D, T, B, width]`, or `[L, D, B, T, width]` with `batch_first`, in time order for both
            directions and zero in padding; h and c carry gradients, the gates are detached.

        Raises:
            ValueError, RuntimeError: what `torch.nn.LSTM` refuses: shapes, types, T = 0.
            InputError: lengths that do not fit.
            BackendError: the layer's `backend` cannot run this call.
        """
        call = self._prepared(input, hx, lengths)
        result = recurrence(
            self.cell,
            call.x,
            self.drawn_weights() if weights is None else weights,
            call.state,
            call.lengths,
            dropout=self.dropout if self.training else 0.0,
            trace=return_trace,
            backend=self.backend,
        )
        output, final = self._in_callers_layout(result, call.batched)
        if result.trace is None:
            return output, final
        return output, final, {name: self._laid_out(value, call) for name, value in result.trace.items()}

    def request(
        self, x: Tensor | PackedSequence, *, lengths: Lengths | None = None, return_trace: bool = False
    ) -> Request:
        """What a call of the layer asks of a backend; for `holdfast.explain`."""
        call = self._prepared(x, None, lengths)
        dropout = self.dropout if self.training else 0.0
        return Request(self.cell, call.x, self.weights(), call.state, call.lengths, dropout, return_trace)

    def _prepared(self, x: Tensor | PackedSequence, state: States | None, lengths: Lengths | None) -> _Call:
        if isinstance(x, PackedSequence):
            self._check_features(x.data, dimensions=2)
            state = self._checked_state(state, 3)
            self._check_state_sizes(state, int(x.batch_sizes[0]))
            return _Call(x, state, _as_tensor(lengths), batched=True)
        if x.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {x.dim()}D instead")
        batched = x.dim() == 3
        state = self._checked_state(state, x.dim())
        if not batched:
            x = x.unsqueeze(1)
            state = None if state is None else tuple(part.unsqueeze(1) for part in state)
            if lengths is not None:
                raise InputError(
                    "got lengths for one sequence without a batch axis: cut the sequence instead"
                )
        elif self.batch_first:
            x = x.transpose(0, 1)
        self._check_features(x, dimensions=3)
        self._check_state_sizes(state, x.size(1))
        if x.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        return _Call(x, state, _as_tensor(lengths), batched)

    def _check_features(self, x: Tensor, dimensions: int) -> None:
        dtype = self.weight_ih_l0.dtype
        if x.dtype != dtype and not torch._C._is_any_autocast_enabled():
            raise ValueError(
                f"RNN input dtype ({x.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({x.dtype})"
            )
        if x.dim() != dimensions:
            raise RuntimeError(f"input must have {dimensions} dimensions, got {x.dim()}")
        if x.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.size(-1)}"
            )

    def _checked_state(self, state: object, dimensions: int) -> States | None:
        """The state as a tuple of tensors with that many axes."""
        if state is None:
            return None
        names = self.cell.states
        if not isinstance(state, tuple | list) or len(state) != len(names):
            got = f"{len(state)} tensors" if isinstance(state, tuple | list) else type(state).__name__
            raise InputError(
                f"the state of the cell {self.cell.name!r} is the tuple ({', '.join(names)},), got {got}"
            )
        if any(part.dim() != dimensions for part in state):
            got = ", ".join(f"{part.dim()}-D" for part in state)
            kind = "batched" if dimensions == 3 else "unbatched"
            raise RuntimeError(
                f"For {kind} {dimensions}-D input, hx and cx should also be {dimensions}-D "
                f"but got ({got}) tensors"
            )
        return tuple(state)

    def _check_state_sizes(self, state: States | None, batch: int) -> None:
        for k, part in enumerate(state or ()):
            width = self.width if self.cell.states[k] == "h" else self.hidden_size
            expected = (self.num_layers * self.directions, batch, width)
            if part.size() != expected:
                raise RuntimeError(f"Expected hidden[{k}] size {expected}, got {list(part.size())}")

    def _in_callers_layout(self, result: Result, batched: bool) -> tuple[Tensor | PackedSequence, States]:
        output, state = result.output, result.state
        if isinstance(output, PackedSequence):
            return output, state
        if not batched:
            parts = [part.squeeze(1) for part in state]
            return output.squeeze(1), type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
        return output.transpose(0, 1) if self.batch_first else output, state

    def _laid_out(self, value: Tensor, call: _Call) -> Tensor:
        if not call.batched:
            return value.squeeze(3)
        return value.transpose(2, 3) if self.batch_first else value


def _as_tensor(lengths: Lengths | None) -> Tensor | None:
    if lengths is None or isinstance(lengths, Tensor):
        return lengths
    try:
        tensor = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"lengths must be integers, one per row, got {lengths!r}") from error
    return tensor if tensor.numel() else tensor.long()  # torch takes an empty list for floats
