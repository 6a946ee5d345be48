"""From PyTorch's recurrent modules to ours and back, with the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from holdfast.cells import get
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.nn.lstm_cell import LSTMCell
    from holdfast.nn.recurrent import Recurrent

Module = TypeVar("Module", bound=nn.Module)

# Keywords that say what the first values are, or where and in what memory a call runs, not what it computes.
_WITHOUT_EFFECT = {"forget_bias", "init", "max_lag", "recompute", "sparse_input", "backend"}
_SHARED = ("num_layers", "bias", "batch_first", "bidirectional")


def layer_arguments(layer: nn.Module) -> dict[str, Any]:
    """The arguments of our layer that equals a `torch.nn.LSTM` or tanh `torch.nn.RNN`, save dropout.

    Raises:
        ConfigError: another module.
    """
    cell = _cell_of(layer, {"LSTM": nn.LSTM, "RNN": nn.RNN})
    names = ("input_size", "hidden_size", *_SHARED, "proj_size")
    return {"cell": cell, **{name: getattr(layer, name) for name in names}}


def cell_arguments(cell: nn.Module) -> dict[str, Any]:
    """The arguments of our cell that equals a `torch.nn.LSTMCell` or tanh `torch.nn.RNNCell`.

    Raises:
        ConfigError: another module.
    """
    name = _cell_of(cell, {"LSTM": nn.LSTMCell, "RNN": nn.RNNCell})
    return {"cell": name, **{name: getattr(cell, name) for name in ("input_size", "hidden_size", "bias")}}


def torch_layer(layer: Recurrent) -> nn.LSTM | nn.RNN:
    """PyTorch's layer that equals one of ours.

    Raises:
        ConfigError: PyTorch's layer lacks something that this one has.
    """
    kind: Any = nn.RNN if layer.cell == get("rnn") else nn.LSTM
    arguments = {name: getattr(layer, name) for name in _SHARED}
    if kind is nn.LSTM:
        arguments["proj_size"] = layer.proj_size
    _check_differences(layer, kind, {*arguments, "dropout"})
    made: nn.LSTM | nn.RNN = kind(layer.input_size, layer.hidden_size, **arguments, device="meta")
    made.dropout = layer.dropout
    return with_parameters_of(layer, made)


def torch_cell(cell: LSTMCell) -> nn.LSTMCell | nn.RNNCell:
    """PyTorch's cell that equals one of ours.

    Raises:
        ConfigError: PyTorch's cell lacks something that this one has.
    """
    kind: Any = nn.RNNCell if cell.cell == get("rnn") else nn.LSTMCell
    _check_differences(cell, kind, {"bias"})
    made: nn.LSTMCell | nn.RNNCell = kind(cell.input_size, cell.hidden_size, cell.bias, device="meta")
    return with_parameters_of(cell, made)


def with_parameters_of(source: nn.Module, made: Module) -> Module:
    """`made`, on the meta device until now, with copies of the parameters of `source`, and in its mode.

    Raises:
        ConfigError: a parameter of `source` is computed from others.
    """
    stored = dict(source.named_parameters(remove_duplicate=False))
    for name, _ in list(made.named_parameters()):
        if name not in stored:
            raise ConfigError(
                f"{name} is not a parameter of the {type(source).__name__} but computed in each call: remove "
                "the parametrisation first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        own = stored[name]
        values = torch.empty_like(own, memory_format=torch.contiguous_format).copy_(own.detach())
        setattr(made, name, nn.Parameter(values, requires_grad=own.requires_grad))
    flatten: Any = getattr(made, "flatten_parameters", None)
    if flatten is not None:
        flatten()
    return made.train(source.training)


def _cell_of(module: nn.Module, kinds: dict[str, type[nn.Module]]) -> str:
    """`"lstm"` or `"rnn"`; a subclass counts as long as it computes what its base does."""
    if isinstance(module, kinds["LSTM"]) and type(module).forward is kinds["LSTM"].forward:
        return "lstm"
    if isinstance(module, kinds["RNN"]) and type(module).forward is kinds["RNN"].forward:
        if module.nonlinearity == "tanh":
            return "rnn"
        got = f"one with nonlinearity={module.nonlinearity!r}"
    else:
        got = type(module).__name__
    lstm, rnn = (f"torch.nn.{kind.__name__}" for kind in kinds.values())
    raise ConfigError(f"from_torch takes a {lstm}, or a {rnn} with tanh; got {got}")


def _check_differences(module: Recurrent | LSTMCell, kind: type[nn.Module], known: set[str]) -> None:
    differences = module._differences()
    if module.cell in (get("lstm"), get("rnn")):
        known = {*known, "cell"}
    lacking = [
        f"{name}={value!r}" for name, value in differences.items() if name not in known | _WITHOUT_EFFECT
    ]
    if lacking:
        raise ConfigError(
            f"to_torch: torch.nn.{kind.__name__} has no {', '.join(lacking)}, so it cannot compute the same"
        )
