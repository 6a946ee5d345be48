"""What a prepared stack is made of, as numpy arrays: from a layer of torch, or from arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.cells import Cell, get
from holdfast.cells.modifiers import PROJECTION
from holdfast.errors import ConfigError, InputError

Array = NDArray[Any]

_BIASES = ("bias_ih", "bias_hh")
_TYPES = ("float32", "float64")
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Stack:
    """Layers and directions of one cell.

    Attributes:
        cell: the equations, with the modifiers of evaluation.
        places: the weights of each layer and direction, `[L*D]`, by name without suffix.
        directions: D.
        residual: whether each layer after the first adds its input to its output.
        initial: what each state starts from, `[L*D, its width]`; None for zeros.
    """

    cell: Cell
    places: tuple[Mapping[str, Array], ...]
    directions: int
    residual: bool
    initial: tuple[Array, ...] | None

    @property
    def hidden(self) -> int:
        """H."""
        own = self.places[0]
        return int(own[PROJECTION if PROJECTION in own else "weight_hh"].shape[1])

    @property
    def projected(self) -> int:
        """P; 0 where h is not projected."""
        return self.width if PROJECTION in self.places[0] else 0

    @property
    def width(self) -> int:
        """The width of h: P, or H."""
        return int(self.places[0]["weight_hh"].shape[1])

    def width_of(self, state: str) -> int:
        """The width of a state."""
        return self.width if state == "h" else self.hidden

    @property
    def inputs(self) -> int:
        """I."""
        return int(self.places[0]["weight_ih"].shape[1])

    @property
    def layers(self) -> int:
        """L."""
        return len(self.places) // self.directions

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of all weights."""
        return self.places[0]["weight_ih"].dtype


def named_type(dtype: Any) -> str | None:
    """The name of a type that weights can be prepared in; None for that of the weights.

    Raises:
        ConfigError: another type.
    """
    name = str(dtype).removeprefix("torch.")
    if dtype is not None and name not in {*_TYPES, BFLOAT16}:
        raise ConfigError(f"dtype is {dtype!r}; it must be one of {', '.join(_TYPES)}, {BFLOAT16}, or None")
    return None if dtype is None else name


def stack_of_layer(layer: Any, dtype: str | None) -> Stack:
    """The stack of a `holdfast.LSTM` or a `holdfast.LSTMCell` as it evaluates, its numbers in that type.

    Raises:
        ConfigError: another object.
        InputError: weights that are neither all float32 nor all float64, where no type is given.
    """
    cell = getattr(layer, "_evaluation_cell", None)
    if not isinstance(cell, Cell):
        raise ConfigError(
            f"prepare takes a holdfast.LSTM or a holdfast.LSTMCell, got {_kind(layer)}. "
            "holdfast.LSTM.from_torch makes one of a torch.nn.LSTM; holdfast.runtime.prepare_arrays takes "
            "arrays by name"
        )
    layers = layer.weights()
    places = [
        {name: _of_tensor(f"{name}{suffix}", value, dtype) for name, value in own.items()}
        for own, suffix in zip(
            (own for directions in layers for own in directions),
            _suffixes(len(layers), len(layers[0])),
            strict=True,
        )
    ]
    learnt = layer._learnt_state() if getattr(layer, "learn_initial_state", False) else None
    initial = learnt and tuple(
        _of_tensor(f"initial_{name}", part, dtype) for name, part in zip(cell.states, learnt, strict=True)
    )
    stack = Stack(cell, tuple(places), len(layers[0]), bool(getattr(layer, "residual", False)), initial)
    _check(stack)
    return stack


def stack_of_weights(
    cell: str | Cell, weights: Mapping[str, Any], residual: bool, dtype: str | None
) -> Stack:
    """The stack with weights by the names of `holdfast.notation`; they say the sizes.

    Raises:
        ConfigError: no such cell.
        InputError: a weight is missing, unknown, or of another shape or type.
    """
    own = get(cell)
    arrays = {name: _as_array(name, value, dtype) for name, value in weights.items()}
    if "weight_ih_l0" not in arrays or "weight_hh_l0" not in arrays:
        raise InputError(
            f"weights must have weight_ih_l0 and weight_hh_l0, got {', '.join(arrays) or 'none'}"
        )
    directions = 2 if "weight_ih_l0_reverse" in arrays else 1
    layers = next(k for k in range(len(arrays) + 1) if f"weight_ih_l{k}" not in arrays)
    names = ["weight_ih", "weight_hh", *(_BIASES if "bias_ih_l0" in arrays else ())]
    names += [parameter.name for parameter in own.parameters]
    names += [PROJECTION] if f"{PROJECTION}_l0" in arrays else []
    wanted = [[(name, name + suffix) for name in names] for suffix in _suffixes(layers, directions)]
    learnt = [f"initial_{state}" for state in own.states if f"initial_{own.states[0]}" in arrays]
    known = {full for place in wanted for _, full in place} | set(learnt)
    missing, unknown = sorted(known - arrays.keys()), sorted(arrays.keys() - known)
    if missing or unknown:
        raise InputError(
            f"weights of the cell {own.name!r} with {layers} layers and {directions} directions: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
        )
    places = tuple({name: arrays[full] for name, full in place} for place in wanted)
    initial = tuple(arrays[name] for name in learnt) or None
    stack = Stack(own, places, directions, residual, initial)
    _check(stack)
    return stack


def _suffixes(layers: int, directions: int) -> Iterator[str]:
    for layer in range(layers):
        for end in ("", "_reverse")[:directions]:
            yield f"_l{layer}{end}"


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _of_tensor(name: str, tensor: Any, dtype: str | None) -> Array:
    """The numbers of a tensor of torch, wherever it lies; not a copy if numpy can share them."""
    tensor = tensor.detach().cpu()
    if dtype is not None:  # numpy lacks bfloat16
        tensor = tensor.double() if dtype == "float64" else tensor.float()
    own = str(tensor.dtype).removeprefix("torch.")
    if own not in _TYPES:
        raise _other_type(name, own)
    return np.asarray(tensor.numpy())


def _as_array(name: str, value: Any, dtype: str | None) -> Array:
    array = np.asarray(value)
    if array.dtype.name not in _TYPES:
        raise _other_type(name, array.dtype.name)
    return array if dtype is None else array.astype("float32" if dtype == BFLOAT16 else dtype, copy=False)


def _other_type(name: str, dtype: str) -> InputError:
    return InputError(f"{name} is {dtype}; prepared weights are all float32 or all float64")


def _check(stack: Stack) -> None:
    """Whether all weights have the type of the first one, and the shapes that follow from its sizes."""
    own = stack.places[0]
    if any(own[name].ndim != 2 for name in ("weight_ih", "weight_hh", PROJECTION) if name in own):
        raise InputError("weight_ih_l0 and weight_hh_l0 must be matrices [G*H, I] and [G*H, H or P]")
    hidden, width = stack.hidden, stack.width
    rows = len(stack.cell.gates) * hidden
    for place, (own, suffix) in enumerate(
        zip(stack.places, _suffixes(stack.layers, stack.directions), strict=True)
    ):
        inputs = stack.inputs if place < stack.directions else stack.directions * width
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, stack.projected or hidden),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
            PROJECTION: (width, hidden),
            **{parameter.name: parameter.shape(hidden) for parameter in stack.cell.parameters},
        }
        for name, value in own.items():
            _check_one(name + suffix, value, shapes[name], stack.dtype)
    for name, part in zip(stack.cell.states, stack.initial or (), strict=False):
        _check_one(f"initial_{name}", part, (len(stack.places), stack.width_of(name)), stack.dtype)


def _check_one(name: str, value: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if value.shape != shape or value.dtype != dtype:
        raise InputError(
            f"{name} must be {dtype} of shape {list(shape)}, got {value.dtype} of shape {list(value.shape)}"
        )
