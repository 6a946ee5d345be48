"""The layer: `torch.nn.LSTM` with the whole LSTM family, lengths, resets and a view of its gates."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from holdfast.errors import ConfigError, InputError
from holdfast.kernels import Request, Result, States, Weights, recurrence
from holdfast.kernels.checkpoints import as_number
from holdfast.nn import convert
from holdfast.nn.indexed import as_coo, as_given, axes
from holdfast.nn.keywords import described
from holdfast.nn.layout import Layout, Lengths, Resets, as_lengths, as_reset
from holdfast.nn.modified import draw_seed, refuse_recorded
from holdfast.nn.recurrent import Recurrent
from holdfast.nn.trace import Trace

Traced = bool | Literal["gradients"]

_NOT_EAGER = (
    "return_trace='gradients' is for eager calls, since compilers and torch.func take no tensors that "
    "backward fills: ask for True here"
)


class _Call(NamedTuple):
    """A call in the layout of the kernels: time first, batched, lengths and resets as tensors."""

    x: Tensor | PackedSequence
    state: States | None
    lengths: Tensor | None
    reset: Tensor | None
    layout: Layout
    entries: States = ()


class LSTM(Recurrent):
    """A drop-in for `torch.nn.LSTM` that runs the whole LSTM family, takes lengths and shows its gates.

    Arguments, parameter names and order, first values under a seed, results, dropout masks and
    `state_dict` are those of `torch.nn.LSTM`; so are `all_weights`, `mode` and `_flat_weights`, to read but
    not to set. `torch.compile`, `torch.export` and `torch.jit.trace` take the layer, and in what they record
    lengths are not checked against T. TorchScript (`torch.jit.script`) is not promised. `docs/layer.md` is
    the guide.

    Args:
        input_size: I, the features of each step.
        hidden_size: H, the units of each layer.
        num_layers: L, the layers stacked on each other.
        bias: whether the two bias vectors of each layer exist.
        batch_first: whether x, output, reset and trace are `[B, T, ...]` instead of `[T, B, ...]`; never the
            state.
        dropout: the probability of zeroing an element between two layers, in training only.
        bidirectional: whether a second direction runs from last to first step; outputs are concatenated.
        proj_size: P, the width that h is projected to in each step; 0 for no projection (Sak et al. 2014).
        device: where the parameters are created.
        dtype: their type.
        cell: the equations by name (`"lstm"`, `"peephole"`, ...: `holdfast.cells.CELLS`) or a
            `holdfast.cells.Cell`, such as one made by `holdfast.cell`.
        recurrent_dropout: in training only. A number drops units of the candidate g, drawn at each step
            (Semeniuta et al. 2016); `{"h": p}` drops units of the h that re-enters, one mask per sequence for
            all gates (Gal and Ghahramani 2016); `{"g": p, "h": q}` does both.
        zoneout: the probability that a unit keeps its old h and c, or the two as `(h, c)`; in evaluation the
            expectation (Krueger et al. 2017).
        weight_drop: the probability of zeroing a recurrent weight, one mask per call, in training only
            (DropConnect as in AWD-LSTM, Merity et al. 2018).
        cell_clip: the bound of |c| (Sak et al. 2014); None for none.
        forget_bias: what the forget gate's bias starts at (Gers et al. 2000; 1 by Jozefowicz et al. 2015);
            None leaves it to `init`.
        init: the first values: `"torch"`, `"orthogonal"` (per gate; Saxe et al. 2014) or `"chrono"` (Tallec
            and Ollivier 2018).
        max_lag: for `init="chrono"`: over how many steps the layer should remember.
        learn_initial_state: whether the state that sequences start from is learnt: parameters `initial_h`
            `[L*D, P or H]` and `initial_c` `[L*D, H]`, zero at first.
        residual: whether each layer after the first adds its input to its output (Wu et al. 2016).
        recompute: k to keep h and c every k steps only for the backward pass, which then computes the values
            between them once more, k steps at a time; True for a k of about the square root of T. None keeps
            every value. It changes memory and time, but no bit of a result (Chen et al. 2016).
        sparse_input: whether x will be given as indices or sparse. Any layer takes that; with this, the first
            layer's weight_ih lies in memory column by column (so it is not contiguous), which is faster there
            and slower for a dense x.
        backend: `"auto"`, or the backend that must run every call: see `holdfast.explain`.

    Raises:
        TypeError, ValueError: what `torch.nn.LSTM` refuses.
        ConfigError: a keyword of ours with a value that it does not take or that does not fit the cell.

    Example:
        >>> layer = LSTM(8, 16, batch_first=True, bidirectional=True, cell="peephole", zoneout=0.1)
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
        reset: Resets | None = None,
        return_trace: Traced = False,
        generator: torch.Generator | None = None,
        weights: Weights | None = None,
    ) -> tuple[Tensor | PackedSequence, States] | tuple[Tensor | PackedSequence, States, Trace]:
        """Run the layers over a batch of sequences.

        Args:
            input: `[T, B, I]`, `[B, T, I]` with `batch_first`, `[T, I]` for one sequence, or a
                `PackedSequence`. The same without I, of int64 or int32, are indices from 0 to I - 1: each
                stands for its one-hot vector, and W x becomes a column of weight_ih. Or a sparse tensor of
                the shapes above: W x is then the sum of its values times their columns. Neither has a
                gradient.
            hx: what the sequence starts from: `(h, c)` with h `[L*D, B, P or H]` and c `[L*D, B, H]`, or one
                tensor per state of the cell (`(h,)` for `rnn`); without B for one sequence. None for zeros,
                or for the learnt initial state.
            lengths: `[B]` integers from 0 to T. Steps beyond a row's length are padding: never read, zero in
                the output, without gradient; the returned state is the one after the last valid step. The
                reverse direction starts at the last valid step. A row of length 0 keeps its state.
            reset: `[T, B]` bool (`[B, T]` with `batch_first`, `[T]` for one sequence): true where a step
                begins a new sequence. The forward direction starts anew before that step, the reverse one
                after it, from zeros or the learnt initial state, never from `hx`.
            return_trace: also return what happened inside; `"gradients"` to have its gradients after
                `backward` too.
            generator: what draws the seed of the masks of `zoneout` and `recurrent_dropout`; PyTorch's
                default one when None. `dropout` and `weight_drop` always draw from the latter.
            weights: the parameters to run with, `self.drawn_weights()` when None; calls that are given the
                same ones share the mask of `weight_drop`.

        Returns:
            `(output, state)` or `(output, state, trace)`. The output is `[T, B, D*(P or H)]` in the layout of
            `input` (packed if it was). The state is a tuple shaped like the one given: the named
            tuple `State(h, c)` for cells whose states are just these, else a plain one in the order of
            `cell.states`. The trace maps each named value of the cell (`i f g o c h`) to
            `[L, D, T, B, width]`, or `[L, D, B, T, width]` with `batch_first`, in time order for both
            directions and zero in padding; the states carry gradients, the other values are detached.

        Raises:
            ValueError, RuntimeError: what `torch.nn.LSTM` refuses: shapes, types, T = 0.
            InputError: lengths, reset, weights, a generator or indices that do not fit; a sparse input that
                needs a gradient; a generator or `return_trace="gradients"` under a compiler, the latter also
                under `torch.func`.
            BackendError: the layer's `backend` cannot run this call.
        """
        if not isinstance(return_trace, bool) and return_trace != "gradients":
            raise InputError(
                f"return_trace is {described(return_trace)}; it must be False, True or 'gradients'"
            )
        if return_trace == "gradients":
            refuse_recorded(_NOT_EAGER)
            if torch._C._are_functorch_transforms_active():
                raise InputError(_NOT_EAGER)
        call = self._entering(input, hx, lengths, reset)
        result = self._run(call, weights, generator, return_trace)
        output, final = call.layout.output(result.output), call.layout.state(result.state)
        if result.trace is None:
            return output, final
        values = {name: call.layout.trace(value) for name, value in result.trace.items()}
        return output, final, Trace(values, result.taps, call.layout)

    def step(
        self,
        x: Tensor,
        state: States | None = None,
        *,
        weights: Weights | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, States]:
        """Run one frame, as in a stream.

        Step by step gives the numbers of a call over the whole sequence in evaluation, and in training where
        nothing is dropped: each step draws new masks, also those that a call keeps for a whole sequence. The
        mask of `weight_drop` is shared by steps that are given the same `weights`.

        Args:
            x: `[B, I]`, or `[I]` for one sequence; indices or sparse, as in a call.
            state: what the step starts from, as `hx` of a call; None at the start of a sequence.
            weights: as in a call.
            generator: as in a call.

        Returns:
            The output `[B, P or H]` (`[P or H]`), and the state to give to the next step.

        Raises:
            ConfigError: the layer is bidirectional; its reverse direction needs the end of the sequence.
            ValueError, RuntimeError: shapes and types that do not fit.
            InputError: weights or a generator that do not fit.
        """
        if self.bidirectional:
            raise ConfigError(
                "step goes forward frame by frame, but the layer is bidirectional: give it sequences"
            )
        x = as_coo(x)
        if axes(x, 2) not in (1, 2):
            raise ValueError(f"LSTM.step: Expected input to be 1D or 2D, got {x.dim()}D instead")
        layout = Layout(batched=axes(x, 2) == 2, batch_first=False)
        call = self._dense(layout.entering(x.unsqueeze(0)), state, None, None, layout)
        result = self._run(call, weights, generator, False)
        # A copy, since autograd lets nobody detach or change a view in place.
        return cast(Tensor, layout.output(result.output))[0].clone(), layout.state(result.state)

    @classmethod
    def from_torch(cls, layer: nn.LSTM | nn.RNN) -> Self:
        """The same layer as one of ours: equal results, but for rounding; with `backend="torch"` to the bit.

        Args:
            layer: a `torch.nn.LSTM`, or a `torch.nn.RNN` with tanh, which becomes `cell="rnn"`.

        Returns:
            A layer with copies of its parameters: type, device, `requires_grad` and training mode too.

        Raises:
            ConfigError: another module, or one whose parameters are parametrised.
        """
        made = cls(**convert.layer_arguments(layer), device="meta")
        made.dropout = float(layer.dropout)
        return convert.with_parameters_of(layer, made)

    def to_torch(self) -> nn.LSTM | nn.RNN:
        """The same layer as PyTorch's own: `torch.nn.LSTM`, or `torch.nn.RNN` for `cell="rnn"`.

        Raises:
            ConfigError: PyTorch's layer lacks something that this one has; the message names it.
        """
        return convert.torch_layer(self)

    def request(
        self,
        x: Tensor | PackedSequence,
        hx: States | None = None,
        *,
        lengths: Lengths | None = None,
        reset: Resets | None = None,
        return_trace: Traced = False,
    ) -> Request:
        """What a call of the layer asks of a backend; for `holdfast.explain`. It draws no random number."""
        call = self._entering(x, hx, lengths, reset)
        cell = self._current_cell
        return Request(
            cell,
            call.x,
            self.weights(),
            call.state,
            call.lengths,
            call.reset,
            seed=torch.zeros((), dtype=torch.int64) if cell.draws else None,
            start=self._learnt_state() if call.reset is not None else None,
            dropout=self.dropout if self.training else 0.0,
            residual=self.residual,
            recompute=as_number(self.recompute, traced=return_trace is not False),
            trace=return_trace is not False,
            entries=call.entries,
        )

    def _run(
        self, call: _Call, weights: Weights | None, generator: torch.Generator | None, return_trace: Traced
    ) -> Result:
        cell = self._current_cell
        return recurrence(
            cell,
            call.x,
            self._checked_weights(weights),
            call.state,
            call.lengths,
            call.reset,
            seed=draw_seed(cell, generator),
            start=self._learnt_state() if call.reset is not None else None,
            dropout=self.dropout if self.training else 0.0,
            residual=self.residual,
            recompute=self.recompute,
            trace=return_trace,
            entries=call.entries,
            backend=self.backend,
        )

    def _entering(
        self,
        x: Tensor | PackedSequence,
        state: States | None,
        lengths: Lengths | None,
        reset: Resets | None,
    ) -> _Call:
        """The call in the layout of the kernels, checked as PyTorch's layer checks it and in that order."""
        if isinstance(x, PackedSequence):
            layout, batch = Layout(True, self.batch_first), int(x.batch_sizes[0])
            self._check_features(x.data, dimensions=2)
            x = x._replace(data=as_given(x.data)[0])
            if lengths is not None:
                raise InputError(
                    "got lengths together with a packed sequence, which carries its own; give one of them"
                )
            state = self._started(self._checked_state(state, layout), batch)
            resets = as_reset(reset, len(x.batch_sizes), batch, layout)
            return _Call(x, state, as_lengths(lengths), resets, layout)
        x = as_coo(x)
        if axes(x, 3) not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {x.dim()}D instead")
        layout = Layout(axes(x, 3) == 3, self.batch_first)
        return self._dense(layout.entering(x), state, lengths, reset, layout)

    def _dense(
        self,
        x: Tensor,
        state: States | None,
        lengths: Lengths | None,
        reset: Resets | None,
        layout: Layout,
    ) -> _Call:
        """The same for x `[T, B, I]`, or indices `[T, B]`; the rest is in the caller's layout."""
        state = self._checked_state(state, layout)
        if lengths is not None and not layout.batched:
            raise InputError("got lengths for one sequence without a batch axis: cut the sequence instead")
        self._check_features(x, dimensions=3)
        steps, batch = x.size(0), x.size(1)
        state = self._started(state, batch)
        if steps == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        resets = as_reset(reset, steps, batch, layout)
        x, entries = as_given(x)
        return _Call(x, state, as_lengths(lengths), resets, layout, entries)

    def _checked_state(self, state: object, layout: Layout) -> States | None:
        """The given state as a tuple of tensors `[L*D, B, width]`, their sizes not checked yet."""
        if state is None:
            return None
        parts = self._checked_parts(state)
        dimensions = 3 if layout.batched else 2
        if any(part.dim() != dimensions for part in parts):
            got = ", ".join(f"{part.dim()}-D" for part in parts)
            kind = "batched" if layout.batched else "unbatched"
            raise RuntimeError(
                f"For {kind} {dimensions}-D input, hx and cx should also be {dimensions}-D "
                f"but got ({got}) tensors"
            )
        return parts if layout.batched else tuple(part.unsqueeze(1) for part in parts)

    def _started(self, state: States | None, batch: int) -> States | None:
        """The given state, its sizes checked, or the learnt one; None for zeros."""
        if state is None:
            learnt = self._learnt_state()
            return learnt and tuple(part.unsqueeze(1).expand(-1, batch, -1) for part in learnt)
        for k, part in enumerate(state):
            expected = (self.num_layers * self.directions, batch, self._state_width(self.cell.states[k]))
            if part.size() != expected:
                raise RuntimeError(f"Expected hidden[{k}] size {expected}, got {list(part.size())}")
            dtype = self.weight_ih_l0.dtype
            if part.dtype != dtype and not torch._C._is_any_autocast_enabled():
                raise RuntimeError(
                    "Input and hidden tensors are not the same dtype, found input tensor with "
                    f"{dtype} and hidden tensor with {part.dtype}"
                )
        return state

    def _check_features(self, x: Tensor, dimensions: int) -> None:
        if x.dim() < axes(x, dimensions):  # indices
            return
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
