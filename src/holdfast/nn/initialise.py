"""The first values of a layer's parameters, one function per `init=`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from holdfast.cells import Cell
from holdfast.kernels import Weights

_SHARED = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@torch.no_grad()
def initialise(
    weights: Weights,
    cell: Cell,
    init: str = "torch",
    max_lag: float | None = None,
    forget_bias: float | None = None,
) -> None:
    """Fill the parameters in place.

    Args:
        weights: per layer and direction, by name without suffix.
        cell: whose gates the rows belong to.
        init: `"torch"`, `"orthogonal"` or `"chrono"`: the functions of this file.
        max_lag: T_max of `chrono`, in steps.
        forget_bias: what the bias of the forget gate starts at instead, if not None.
    """
    _INITS[init](weights, cell, max_lag)
    if forget_bias is not None:
        for own in _each(weights):
            _rows(own["bias_ih"], cell, "f").fill_(forget_bias)
            _rows(own["bias_hh"], cell, "f").zero_()


def uniform(weights: Weights, cell: Cell, max_lag: float | None = None) -> None:
    """Everything from U(-1/sqrt(H), 1/sqrt(H)), as `torch.nn.LSTM` draws it and in its order.

    The cell's own parameters come after all others; those with a `start` are filled with it.
    """
    bound = _bound(weights, cell)
    for own in _each(weights):
        for name in _SHARED:
            if name in own:
                nn.init.uniform_(own[name], -bound, bound)
    _fill_own(weights, cell, bound)


def orthogonal(weights: Weights, cell: Cell, max_lag: float | None = None) -> None:
    """`weight_hh` orthogonal and `weight_ih` Xavier uniform, gate by gate; `weight_hr` orthogonal; biases 0.

    Saxe, McClelland and Ganguli 2014, *Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks*; Glorot and Bengio 2010, *Understanding the difficulty of training deep feedforward
    neural networks*. The cell's own parameters are drawn as `uniform` draws them.
    """
    gates = len(cell.gates)
    for own in _each(weights):
        for block in own["weight_ih"].chunk(gates):
            nn.init.xavier_uniform_(block)
        for block in own["weight_hh"].chunk(gates):
            _make_orthogonal(block)
        for name in ("bias_ih", "bias_hh"):
            if name in own:
                own[name].zero_()
        if "weight_hr" in own:
            _make_orthogonal(own["weight_hr"])
    _fill_own(weights, cell, _bound(weights, cell))


def chrono(weights: Weights, cell: Cell, max_lag: float | None = None) -> None:
    """As `uniform`, but the forget bias is log(U(1, max_lag - 1)), the input bias its negative.

    Tallec and Ollivier 2018, *Can recurrent neural networks warp time?*: the units' time scales then spread
    over 1 to `max_lag` steps. The values are in `bias_ih`; those rows of `bias_hh` are 0. A cell without an
    input gate of its own, such as `coupled`, gets the forget bias only.
    """
    assert max_lag is not None
    uniform(weights, cell)
    for own in _each(weights):
        forget = _rows(own["bias_ih"], cell, "f").uniform_(1.0, max_lag - 1.0).log_()
        _rows(own["bias_hh"], cell, "f").zero_()
        if "i" in cell.gates:
            _rows(own["bias_ih"], cell, "i").copy_(-forget)
            _rows(own["bias_hh"], cell, "i").zero_()


_INITS: dict[str, Callable[[Weights, Cell, float | None], None]] = {
    "torch": uniform,
    "orthogonal": orthogonal,
    "chrono": chrono,
}


def _each(weights: Weights) -> Iterator[dict[str, Tensor]]:
    return (dict(own) for directions in weights for own in directions)


def _rows(parameter: Tensor, cell: Cell, gate: str) -> Tensor:
    """The row block of a gate, as a view."""
    return parameter.chunk(len(cell.gates))[cell.gates.index(gate)]


def _bound(weights: Weights, cell: Cell) -> float:
    return 1.0 / math.sqrt(weights[0][0]["weight_hh"].size(0) // len(cell.gates))


def _fill_own(weights: Weights, cell: Cell, bound: float) -> None:
    for own in _each(weights):
        for parameter in cell.parameters:
            if parameter.start is None:
                nn.init.uniform_(own[parameter.name], -bound, bound)
            else:
                own[parameter.name].fill_(parameter.start)


def _make_orthogonal(matrix: Tensor) -> None:
    """In float32 at least: the decomposition knows no shorter type."""
    drawn = torch.empty_like(matrix, dtype=torch.promote_types(matrix.dtype, torch.float32))
    matrix.copy_(nn.init.orthogonal_(drawn))
