"""The keywords of a layer, checked: each error says what was asked, what was got and what to do."""

from __future__ import annotations

import difflib
import math
import numbers
import reprlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from holdfast.cells import Cell
from holdfast.errors import ConfigError
from holdfast.kernels.checkpoints import Recompute

INITS = ("torch", "orthogonal", "chrono")

Rates = tuple[float, float]


def described(value: object) -> str:
    """A value in an error message: of a tensor only its shape and type, of anything long only the start."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} and {value.dtype}"
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
        return f"a {type(value).__name__} of tensors"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 80


def refuse_unknown(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """What Python says of keywords that a class does not take, with the one that may be meant."""
    for name in given:
        names = [*known, "input_size", "hidden_size", "device", "dtype"]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f". Did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"{kind}.__init__() got an unexpected keyword argument {name!r}{hint}")


def is_number(value: object) -> bool:
    """Whether it is a finite real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def flag(name: str, value: Any) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {described(value)}; it must be True or False")
    return value


def probability(name: str, value: Any) -> float:
    """The value as a float, if it lies in [0, 1)."""
    if not is_number(value) or not 0 <= value < 1:
        raise ConfigError(f"{name} is {described(value)}; it must be a probability, at least 0 and below 1")
    return float(value)


def weight_drop_rate(value: Any) -> float:
    """The value as a float, if it lies in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"weight_drop is {described(value)}; it must be a probability, 0 to 1")
    return float(value)


def recurrent_dropout_rates(value: Any, cell: Cell) -> Rates:
    """The rates of g (Semeniuta's dropout) and of h (Gal's) that `recurrent_dropout=` means."""
    if not isinstance(value, Mapping):
        rates = probability("recurrent_dropout", value), 0.0
    else:
        unknown = [key for key in value if key not in ("g", "h")]
        if unknown:
            raise ConfigError(
                f"recurrent_dropout has the key {unknown[0]!r}; it takes 'g' (the candidate, drawn at each "
                "step) and 'h' (the output that re-enters, one mask per sequence)"
            )
        rates = (
            probability("recurrent_dropout['g']", value.get("g", 0.0)),
            probability("recurrent_dropout['h']", value.get("h", 0.0)),
        )
    if rates[0] and "g" not in cell.values:
        raise ConfigError(
            f"recurrent_dropout is {described(value)}, but the cell {cell.name!r} has no value g to drop: "
            "give {'h': p} for dropout of h"
        )
    return rates


def zoneout_rates(value: Any, cell: Cell) -> Rates:
    """The rates of h and c that `zoneout=` means; one number holds for those that the cell has."""
    has_c = "c" in cell.states
    if not isinstance(value, tuple | list):
        rate = probability("zoneout", value)
        return rate, rate if has_c else 0.0
    if len(value) != 2:
        raise ConfigError(f"zoneout is {described(value)}; it must be one probability, or two: (h, c)")
    rates = probability("zoneout of h", value[0]), probability("zoneout of c", value[1])
    if rates[1] and not has_c:
        raise ConfigError(
            f"zoneout is {described(value)}, but the cell {cell.name!r} has no c: give one number"
        )
    return rates


def clip_limit(value: Any, cell: Cell) -> float | None:
    """The limit of |c| that `cell_clip=` means; None for no limit."""
    if value is None:
        return None
    if not is_number(value) or value <= 0:
        raise ConfigError(
            f"cell_clip is {described(value)}; it must be a number above 0, or None for no limit"
        )
    if "c" not in cell.states:
        raise ConfigError(f"cell_clip is {described(value)}, but the cell {cell.name!r} has no c to clip")
    return float(value)


def recompute_steps(value: Any) -> Recompute:
    """The value, if it is a whole number above 0, True or None; None for False."""
    if value is None or isinstance(value, bool):
        return value or None
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ConfigError(
            f"recompute is {described(value)}; it must be a number of steps, 1 or more, True for about the "
            "square root of T, or None to keep every value"
        )
    return int(value)


def check_first_values(init: Any, max_lag: Any, forget_bias: Any, cell: Cell, bias: bool) -> None:
    """Whether `init=`, `max_lag=` and `forget_bias=` go together and with the cell."""
    if init not in INITS:
        close = difflib.get_close_matches(str(init), INITS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"init is {described(init)}; it must be one of {', '.join(INITS)}.{hint}")
    if init != "chrono" and max_lag is not None:
        raise ConfigError(
            f"max_lag is {described(max_lag)}, which only init='chrono' takes; init is {described(init)}"
        )
    if init == "chrono":
        if not is_number(max_lag) or max_lag < 2:
            raise ConfigError(
                f"max_lag is {described(max_lag)}; init='chrono' needs the number of steps, 2 or more, over "
                "which the layer should remember"
            )
        _check_forget_rows("init='chrono'", cell, bias)
    if forget_bias is None:
        return
    if not is_number(forget_bias):
        raise ConfigError(
            f"forget_bias is {described(forget_bias)}; it must be a number, or None to leave it as init does"
        )
    if init == "chrono":
        raise ConfigError(
            f"forget_bias is {described(forget_bias)}, but init='chrono' sets that bias: "
            "leave one of them out"
        )
    _check_forget_rows(f"forget_bias={described(forget_bias)}", cell, bias)


def _check_forget_rows(asked: str, cell: Cell, bias: bool) -> None:
    if "f" not in cell.gates:
        raise ConfigError(
            f"{asked} sets the bias of f, but the cell {cell.name!r} has no gate f: leave it out"
        )
    if not bias:
        raise ConfigError(f"{asked} sets the bias of f, but bias is False: leave one of them out")


def check_dropout(dropout: Any, num_layers: int) -> None:
    """What `torch.nn.LSTM` says of its dropout."""
    number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being "
            f"zeroed, got {described(dropout)}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=3,
        )


def check_type(name: str, value: object, wanted: type) -> None:
    """What `torch.nn.LSTM` says of an argument of another type."""
    if not isinstance(value, wanted):
        raise TypeError(f"{name} should be of type {wanted.__name__}, got: {type(value).__name__}")


def check_size(name: str, value: int) -> None:
    """What `torch.nn.LSTM` says of a size."""
    if value <= 0:
        raise ValueError(f"{name} must be greater than zero, got {value}")


def check_projection(proj_size: int, hidden_size: int) -> None:
    """What `torch.nn.LSTM` says of a projection."""
    if proj_size < 0:
        raise ValueError(
            f"proj_size should be a positive integer or zero to disable projections, got {proj_size}"
        )
    if proj_size >= hidden_size:
        raise ValueError(f"proj_size has to be smaller than hidden_size, got {proj_size} and {hidden_size}")
