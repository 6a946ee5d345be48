"""One step at a time: `torch.nn.LSTMCell` with the whole LSTM family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Never, Self

import torch
from torch import Tensor, nn

from holdfast.cells import Cell
from holdfast.errors import ConfigError, InputError
from holdfast.kernels import Request, States, Weights, recurrence
from holdfast.nn import convert, keywords
from holdfast.nn.initialise import initialise
from holdfast.nn.modified import Modified, draw_seed


class LSTMCell(Modified):
    """A drop-in for `torch.nn.LSTMCell` that runs the whole LSTM family.

    Arguments, parameter names and order, first values under a seed, results and `state_dict`
    are those of `torch.nn.LSTMCell`. The cell's own parameters come last.

    Args:
        input_size: I, the features of a step.
        hidden_size: H, the units.
        bias: whether the two bias vectors exist.
        device: where the parameters are created.
        dtype: their type.
        cell: the equations, as in `holdfast.LSTM`.
        recurrent_dropout: as in `holdfast.LSTM`; each call draws new masks, for Gal's dropout too.
        zoneout: as in `holdfast.LSTM`.
        cell_clip: as in `holdfast.LSTM`.
        forget_bias: as in `holdfast.LSTM`.
        init: as in `holdfast.LSTM`.
        max_lag: as in `holdfast.LSTM`.
        backend: as in `holdfast.LSTM`.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, or a bias that is not a bool.
        ConfigError: a keyword of ours with a value that it does not take or that does not fit the cell.

    Example:
        >>> cell = LSTMCell(8, 16, cell="layernorm")
        >>> state = None
        >>> for x in torch.zeros(5, 3, 8):
        ...     state = cell(x, state)
        >>> h, c = state
        >>> tuple(h.shape), tuple(c.shape)
        ((3, 16), (3, 16))
    """

    _plain: Mapping[str, Any] = {"bias": True, **Modified._plain}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        cell: str | Cell = "lstm",
        recurrent_dropout: float | Mapping[str, float] = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        cell_clip: float | None = None,
        forget_bias: float | None = None,
        init: str = "torch",
        max_lag: float | None = None,
        backend: str = "auto",
        **unknown: Never,
    ) -> None:
        keywords.refuse_unknown(type(self).__name__, unknown, self._plain)
        keywords.check_type("bias", bias, bool)
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            keywords.check_type(name, size, int)
            keywords.check_size(name, size)
        super().__init__(
            cell, recurrent_dropout=recurrent_dropout, zoneout=zoneout, cell_clip=cell_clip, backend=backend
        )
        self._set_first_values(init, max_lag, forget_bias, bias=bias)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        for name, shape in self._shapes().items():
            if hasattr(self, name):
                raise ConfigError(
                    f"a parameter of the cell {self.cell.name!r} is called {name!r}, as something of every "
                    "LSTMCell is; give it another name"
                )
            parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if shape else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def _shapes(self) -> dict[str, tuple[int, ...] | None]:
        """Each parameter's shape, in the order of registration; None where there is no bias."""
        rows = len(self.cell.gates) * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
            "bias_ih": (rows,) if self.bias else None,
            "bias_hh": (rows,) if self.bias else None,
            **{own.name: own.shape(self.hidden_size) for own in self.cell.parameters},
        }

    def weights(self) -> Weights:
        """The parameters as the kernels take them: one layer, one direction."""
        return [[{name: getattr(self, name) for name, shape in self._shapes().items() if shape}]]

    def reset_parameters(self) -> None:
        """Draw the first values again, as `init` and `forget_bias` say."""
        initialise(self.weights(), self.cell, self.init, self.max_lag, self.forget_bias)

    def forward(self, input: Tensor, hx: States | None = None) -> States:
        """Run one step.

        Args:
            input: `[B, I]`, or `[I]` for one sequence.
            hx: what the step starts from: `(h, c)`, both `[B, H]` (`[H]`), or one tensor per state of the
                cell; zeros when None.

        Returns:
            The state after the step, a tuple like `hx`: the named tuple `State(h, c)` for cells with just
            these states, else a plain one in the order of `cell.states`.

        Raises:
            ValueError, RuntimeError: what `torch.nn.LSTMCell` refuses.
            InputError: an `hx` with another number of tensors than the cell has states.
            BackendError: the cell's `backend` cannot run it.
        """
        x, state = self._entering(input, hx)
        cell = self._current_cell
        result = recurrence(
            cell, x, self.weights(), state, seed=draw_seed(cell, None), as_cell=True, backend=self.backend
        )
        # Copies, since autograd lets nobody detach or change a view in place, as loops over cells do.
        final = [part[0].clone() if input.dim() == 2 else part[0, 0].clone() for part in result.state]
        if input.device.type == "cpu" and torch.is_autocast_enabled("cpu") and "c" in cell.states:
            # There PyTorch's cell casts the products only, and leaves the rest to promotion by the old c.
            old = input if state is None else state[cell.states.index("c")]
            final = [part.to(torch.promote_types(part.dtype, old.dtype)) for part in final]
        return type(result.state)(*final) if hasattr(result.state, "_fields") else tuple(final)

    def request(self, x: Tensor, hx: States | None = None, **others: object) -> Request:
        """What a call asks of a backend; for `holdfast.explain`. It draws no random number.

        Raises:
            InputError: lengths, reset or a trace, which a single cell does not take.
        """
        for name in others:
            raise InputError(f"{name} is for sequences, but an LSTMCell runs one step: leave it out")
        x, state = self._entering(x, hx)
        cell = self._current_cell
        seed = torch.zeros((), dtype=torch.int64) if cell.draws else None
        return Request(cell, x, self.weights(), state, seed=seed, as_cell=True)

    def _entering(self, input: Tensor, hx: States | None) -> tuple[Tensor, States | None]:
        """Input and state `[1, B, ...]`, checked as PyTorch's cell checks them."""
        if input.dim() not in (1, 2):
            raise ValueError(f"LSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead")
        state = None if hx is None else self._checked_parts(hx)
        for index, part in enumerate(state or ()):
            if part.dim() not in (1, 2):
                raise ValueError(f"LSTMCell: Expected hx[{index}] to be 1D or 2D, got {part.dim()}D instead")
        if input.dim() == 1:
            input = input.unsqueeze(0)
            state = state and tuple(part.unsqueeze(0) for part in state)
        self._check(input, state)
        return input.unsqueeze(0), state and tuple(part.unsqueeze(0) for part in state)

    def _check(self, x: Tensor, state: States | None) -> None:
        """In PyTorch's words; the state is batched."""
        dtype = self.weight_ih.dtype
        if x.dtype != dtype and not torch._C._is_any_autocast_enabled():
            raise RuntimeError(f"input and weights must have the same dtype, but got {x.dtype} and {dtype}")
        if x.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.size(1)} expected {self.input_size}"
            )
        for index, part in enumerate(state or ()):
            if part.dim() != 2 or part.size(0) != x.size(0):
                raise RuntimeError(
                    f"Input batch size {x.size(0)} doesn't match hidden{index} batch size {part.size(0)}"
                )
            if part.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{index} has inconsistent hidden_size: got {part.size(1)}, "
                    f"expected {self.hidden_size}"
                )

    @classmethod
    def from_torch(cls, cell: nn.LSTMCell | nn.RNNCell) -> Self:
        """The same cell as one of ours; a `torch.nn.RNNCell` with tanh becomes `cell="rnn"`.

        Raises:
            ConfigError: another module, or one whose parameters are parametrised.
        """
        return convert.with_parameters_of(cell, cls(**convert.cell_arguments(cell), device="meta"))

    def to_torch(self) -> nn.LSTMCell | nn.RNNCell:
        """The same cell as PyTorch's own: `torch.nn.LSTMCell`, or `torch.nn.RNNCell` for `cell="rnn"`.

        Raises:
            ConfigError: PyTorch's cell lacks something that this one has; the message names it.
        """
        return convert.torch_cell(self)

    def extra_repr(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._differences().items()]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])
