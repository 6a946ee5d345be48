"""The parameters of a recurrent layer: their names, shapes, order and first values, as in `torch.nn.LSTM`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Never

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from holdfast.cells import Cell
from holdfast.errors import InputError
from holdfast.kernels import Weights
from holdfast.kernels.checkpoints import Recompute
from holdfast.nn import keywords
from holdfast.nn.initialise import initialise
from holdfast.nn.modified import Modified, fixed


class Recurrent(Modified):
    """Stacked layers of any cell: the arguments and parameters of `torch.nn.LSTM`, without the forward pass.

    Parameters that PyTorch's layer does not have are registered after all those it has, so that the same seed
    gives the shared ones the same numbers.
    """

    _plain: Mapping[str, Any] = {
        "proj_size": 0,
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        **Modified._plain,
        "weight_drop": 0.0,
        "learn_initial_state": False,
        "residual": False,
        "recompute": None,
        "sparse_input": False,
    }

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
        recurrent_dropout: float | Mapping[str, float] = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        weight_drop: float = 0.0,
        cell_clip: float | None = None,
        forget_bias: float | None = None,
        init: str = "torch",
        max_lag: float | None = None,
        learn_initial_state: bool = False,
        residual: bool = False,
        recompute: Recompute = None,
        sparse_input: bool = False,
        backend: str = "auto",
        **unknown: Never,
    ) -> None:
        keywords.refuse_unknown(type(self).__name__, unknown, self._plain)
        keywords.check_dropout(dropout, num_layers)
        for name, value, wanted in (("bias", bias, bool), ("batch_first", batch_first, bool)):
            keywords.check_type(name, value, wanted)
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            keywords.check_type(name, size, int)
        for name, size in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            keywords.check_size(name, size)
        keywords.check_projection(proj_size, hidden_size)
        super().__init__(
            cell, recurrent_dropout=recurrent_dropout, zoneout=zoneout, cell_clip=cell_clip, backend=backend
        )
        self._set_first_values(init, max_lag, forget_bias, bias=bias)
        self.weight_drop = weight_drop
        self._learn_initial_state = keywords.flag("learn_initial_state", learn_initial_state)
        self.residual = residual
        self.recompute = recompute
        self._sparse_input = keywords.flag("sparse_input", sparse_input)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        for name, shape in self._shapes():
            columnwise = sparse_input and name.startswith("weight_ih_l0")
            values = torch.empty(shape[::-1] if columnwise else shape, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(values.t() if columnwise else values))
        # Per layer and direction, each parameter's name without and with suffix: every call reads them.
        names = [[(name, name + suffix) for name in self._shapes_in(0)] for _, suffix in self._suffixes()]
        self._weight_names = [
            names[start : start + self.directions] for start in range(0, len(names), self.directions)
        ]
        self.flatten_parameters()
        self.reset_parameters()

    @property
    def weight_drop(self) -> float:
        """The probability of zeroing a recurrent weight."""
        return self._weight_drop

    @weight_drop.setter
    def weight_drop(self, value: float) -> None:
        self._weight_drop = keywords.weight_drop_rate(value)

    @property
    def residual(self) -> bool:
        """Whether each layer after the first adds its input to its output."""
        return self._residual

    @residual.setter
    def residual(self, value: bool) -> None:
        self._residual = keywords.flag("residual", value)

    @property
    def recompute(self) -> Recompute:
        """How many steps lie between the states that are kept for backward; None where every value is."""
        return self._recompute

    @recompute.setter
    def recompute(self, value: Recompute) -> None:
        self._recompute = keywords.recompute_steps(value)

    @property
    def learn_initial_state(self) -> bool:
        """Whether the initial state is learnt; fixed when the layer is made, as it has parameters."""
        return self._learn_initial_state

    @learn_initial_state.setter
    def learn_initial_state(self, value: object) -> None:
        raise fixed(self, "learn_initial_state", value)

    @property
    def sparse_input(self) -> bool:
        """Whether weight_ih of the first layer lies column by column; fixed when the layer is made."""
        return self._sparse_input

    @sparse_input.setter
    def sparse_input(self, value: object) -> None:
        raise fixed(self, "sparse_input", value)

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

    def _state_width(self, name: str) -> int:
        return self.width if name == "h" else self.hidden_size

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Each parameter's name and shape, in the order of registration."""
        own = [name for name in self._shapes_in(0) if name not in self._matrices]
        for names in (self._matrices, own):
            for layer, suffix in self._suffixes():
                shapes = self._shapes_in(layer)
                yield from ((name + suffix, shapes[name]) for name in names)
        if self.learn_initial_state:
            runs = self.num_layers * self.directions
            yield from ((f"initial_{name}", (runs, self._state_width(name))) for name in self.cell.states)

    def _shapes_in(self, layer: int) -> dict[str, tuple[int, ...]]:
        """What the kernels take for one layer and direction: each name without suffix, and its shape."""
        rows = len(self.cell.gates) * self.hidden_size
        entering = self.input_size if layer == 0 else self.width * self.directions
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, entering),
            "weight_hh": (rows, self.width),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
            "weight_hr": (self.proj_size, self.hidden_size),
        }
        own = {parameter.name: parameter.shape(self.hidden_size) for parameter in self.cell.parameters}
        return {name: shapes[name] for name in self._matrices} | own

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
        return [
            [{name: getattr(self, own) for name, own in direction} for direction in layer]
            for layer in self._weight_names
        ]

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

    def _checked_weights(self, weights: Weights | None) -> Weights:
        """Given weights, if they are those of such a layer; `drawn_weights()` for None.

        Raises:
            InputError: another number of layers or directions, other names or shapes.
        """
        if weights is None:
            return self.drawn_weights()
        if not _is_list_of(weights, self.num_layers) or not all(
            _is_list_of(directions, self.directions) for directions in weights
        ):
            raise InputError(
                f"weights must be {self.num_layers} lists (layers) of {self.directions} dicts (directions), "
                f"as drawn_weights() gives them; got {_nesting(weights)}"
            )
        for layer, directions in enumerate(weights):
            shapes = self._shapes_in(layer)
            for direction, own in enumerate(directions):
                _check_shapes(f"weights[{layer}][{direction}]", own, shapes)
        return weights

    def _learnt_state(self) -> tuple[Tensor, ...] | None:
        """The learnt initial state, `[L*D, width]` per state of the cell; None where it is not learnt."""
        if not self.learn_initial_state:
            return None
        return tuple(getattr(self, f"initial_{name}") for name in self.cell.states)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the first values again, as `init`, `forget_bias` and `learn_initial_state` say."""
        # Drawn row by row: the same numbers under a seed, however they are stored.
        weights = [
            [{name: value.contiguous() for name, value in own.items()} for own in layer]
            for layer in self.weights()
        ]
        initialise(weights, self.cell, self.init, self.max_lag, self.forget_bias)
        for (_, suffix), own in zip(self._suffixes(), chain.from_iterable(weights), strict=True):
            for name, value in own.items():
                if is_parametrized(self, name + suffix):
                    setattr(self, name + suffix, value)
                elif not getattr(self, name + suffix).is_contiguous():
                    getattr(self, name + suffix).copy_(value)
        for part in self._learnt_state() or ():
            part.zero_()

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
        shown = [f"{name}={value!r}" for name, value in self._differences().items()]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])


def _is_list_of(given: object, count: int) -> bool:
    return isinstance(given, list | tuple) and len(given) == count


def _nesting(given: object) -> str:
    """How a wrong `weights=` is nested, in a few words."""
    if not isinstance(given, list | tuple) or not given:
        return keywords.described(given)
    inner = [len(part) if isinstance(part, list | tuple) else type(part).__name__ for part in given]
    return f"a {type(given).__name__} of {len(given)}, in which: {inner}"


def _check_shapes(place: str, given: object, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Whether the names and shapes in one layer and direction are the wanted ones."""
    if not isinstance(given, Mapping):
        raise InputError(f"{place} must be a dict of tensors by name, got {keywords.described(given)}")
    if given.keys() != wanted.keys():
        raise InputError(
            f"{place} must have the names {', '.join(wanted)}; it has {', '.join(map(str, given))}"
        )
    for name, shape in wanted.items():
        value = given[name]
        if not isinstance(value, Tensor):
            raise InputError(f"{place}[{name!r}] must be a tensor, got {keywords.described(value)}")
        if value.shape != shape:
            raise InputError(
                f"{place}[{name!r}] must have the shape {list(shape)} in this layer, got {list(value.shape)}"
            )


_CUDNN_MODES = {"rnn": 1, "lstm": 2}


def _flattable(weights: list[Tensor]) -> bool:
    """Whether cuDNN takes these weights and none of them share memory."""
    acceptable = all(
        isinstance(weight, Tensor)
        and weight.is_cuda
        and weight.dtype == weights[0].dtype
        and weight.is_contiguous()
        and torch.backends.cudnn.is_acceptable(weight)
        for weight in weights
    )
    return acceptable and len({weight.data_ptr() for weight in weights}) == len(weights)
