"""The parameters of a recurrent layer: their names, shapes, order and first values, as in `torch.nn.LSTM`."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.cells import Cell, get
from holdfast.errors import ConfigError
from holdfast.kernels import Weights
from holdfast.kernels.choose import check_name


class Recurrent(nn.Module):
    """Stacked layers of any cell: the arguments and parameters of `torch.nn.LSTM`, without the forward pass.

    Parameters that PyTorch's layer does not have are registered after all those it has, so that the same seed
    gives the shared ones the same numbers.
    """

    def __init__(  # noqa: PLR0917 - the order of torch.nn.LSTM
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        cell: str | Cell = "lstm",
        weight_drop: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        _check_dropout(dropout, num_layers)
        _check_types(bias, batch_first, input_size, hidden_size)
        _check_sizes(input_size, hidden_size, num_layers, proj_size)
        self.cell = get(cell)
        if proj_size > 0 and "c" not in self.cell.states:
            raise ConfigError(
                f"proj_size is {proj_size}, but the cell {self.cell.name!r} does not take a projection"
            )
        if not 0.0 <= weight_drop <= 1.0:
            raise ConfigError(f"weight_drop is {weight_drop}; it must be a probability, 0 to 1")
        self.weight_drop = float(weight_drop)
        self.backend = check_name(backend)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        for name, shape in self._shapes():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.flatten_parameters()
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """The width of h: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    @property
    def _matrices(self) -> list[str]:
        """What PyTorch's layer has per layer and direction, in its order."""
        biases = ["bias_ih", "bias_hh"] if self.bias else []
        return ["weight_ih", "weight_hh", *biases, *(["weight_hr"] if self.proj_size else [])]

    def _suffixes(self) -> Iterator[tuple[int, str]]:
        """Each layer with each direction's suffix: `(0, "_l0"), (0, "_l0_reverse"), (1, "_l1"), ...`."""
        for layer in range(self.num_layers):
            for end in ("", "_reverse")[: self.directions]:
                yield layer, f"_l{layer}{end}"

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Each parameter's name and shape, in the order of registration."""
        rows = len(self.cell.gates) * self.hidden_size
        for layer, suffix in self._suffixes():
            entering = self.input_size if layer == 0 else self.width * self.directions
            shapes = {
                "weight_ih": (rows, entering),
                "weight_hh": (rows, self.width),
                "bias_ih": (rows,),
                "bias_hh": (rows,),
                "weight_hr": (self.proj_size, self.hidden_size),
            }
            yield from ((name + suffix, shapes[name]) for name in self._matrices)
        for _, suffix in self._suffixes():
            yield from ((own.name + suffix, own.shape(self.hidden_size)) for own in self.cell.parameters)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters per layer and direction, in PyTorch's order."""
        return [[getattr(self, name + suffix) for name in self._matrices] for _, suffix in self._suffixes()]

    @property
    def _flat_weights(self) -> list[Tensor]:
        """The same in one list; some libraries read it from PyTorch's layer."""
        return [weight for own in self.all_weights for weight in own]

    @property
    def mode(self) -> str:
        """What PyTorch's layers call it: `"LSTM"`, `"RNN_TANH"`; another cell's own name in capitals."""
        return {"rnn": "RNN_TANH"}.get(self.cell.name, self.cell.name.upper())

    def weights(self) -> Weights:
        """The parameters as the kernels take them: per layer, per direction, by name without suffix."""
        names = [*self._matrices, *(own.name for own in self.cell.parameters)]
        flat = [{name: getattr(self, name + suffix) for name in names} for _, suffix in self._suffixes()]
        return [flat[start : start + self.directions] for start in range(0, len(flat), self.directions)]

    def drawn_weights(self) -> Weights:
        """The same, in training with a new mask of dropped recurrent weights where `weight_drop` is set."""
        if not self.training or self.weight_drop == 0:
            return self.weights()
        return [
            [
                {**own, "weight_hh": functional.dropout(own["weight_hh"], self.weight_drop)}
                for own in directions
            ]
            for directions in self.weights()
        ]

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(H), 1/sqrt(H)), in order of registration, as PyTorch does."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Lay the parameters out in one piece where cuDNN runs them; elsewhere there is nothing to do."""
        flat = self._flat_weights
        if self.cell.name not in _CUDNN_MODES or not _flattable(flat):
            return
        with torch.cuda.device(flat[0].device), torch.no_grad():
            torch._cudnn_rnn_flatten_weight(
                flat,
                len(self._matrices),
                self.input_size,
                _CUDNN_MODES[self.cell.name],
                self.hidden_size,
                self.proj_size,
                self.num_layers,
                self.batch_first,
                self.bidirectional,
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.flatten_parameters()
        return result

    def extra_repr(self) -> str:
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "weight_drop": 0.0,
        }
        shown = [
            f"{name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        shown += [f"cell={self.cell.name!r}"] * (self.cell.name != "lstm")
        shown += [f"backend={self.backend!r}"] * (self.backend != "auto")
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])


_CUDNN_MODES = {"rnn": 1, "lstm": 2}


def _flattable(weights: list[Tensor]) -> bool:
    """Whether cuDNN takes these weights and none of them share memory."""
    acceptable = all(
        isinstance(weight, Tensor)
        and weight.is_cuda
        and weight.dtype == weights[0].dtype
        and torch.backends.cudnn.is_acceptable(weight)
        for weight in weights
    )
    return acceptable and len({weight.data_ptr() for weight in weights}) == len(weights)


def _check_dropout(dropout: Any, num_layers: int) -> None:
    number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being "
            f"zeroed, got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=3,
        )


def _check_types(bias: object, batch_first: object, input_size: object, hidden_size: object) -> None:
    for name, value, wanted in (
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
        ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, wanted):
            raise TypeError(f"{name} should be of type {wanted.__name__}, got: {type(value).__name__}")


def _check_sizes(input_size: int, hidden_size: int, num_layers: int, proj_size: int) -> None:
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero, got {value}")
    if proj_size < 0:
        raise ValueError(
            f"proj_size should be a positive integer or zero to disable projections, got {proj_size}"
        )
    if proj_size >= hidden_size:
        raise ValueError(f"proj_size has to be smaller than hidden_size, got {proj_size} and {hidden_size}")
