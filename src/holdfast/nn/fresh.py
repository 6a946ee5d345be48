"""A layer of the same shape with first values of its own, of another cell where one is named."""

from __future__ import annotations

from typing import Any

from holdfast.cells import Cell, get
from holdfast.nn import keywords
from holdfast.nn.lstm import LSTM

_SAME = (
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "batch_first",
    "dropout",
    "bidirectional",
    "proj_size",
    "weight_drop",
    "learn_initial_state",
    "residual",
    "recompute",
    "sparse_input",
    "backend",
)


def fresh(layer: LSTM, cell: str | Cell | None = None) -> LSTM:
    """A new layer like `layer`, its first values drawn anew from torch's default generator.

    Keywords that speak of a value which the other cell lacks are left out: `forget_bias`, `init="chrono"`,
    `cell_clip`, and the parts of `zoneout` and `recurrent_dropout`.

    Args:
        layer: what gives the shape and the keywords, the device and the type.
        cell: the other cell; None for the same one.

    Raises:
        ConfigError: there is no such cell.
    """
    found = layer.cell if cell is None else get(cell)
    same = {name: getattr(layer, name) for name in _SAME}
    weight = next(layer.parameters())
    return LSTM(**same, **_fitting(layer, found), cell=found, device=weight.device, dtype=weight.dtype).train(
        layer.training
    )


def _fitting(layer: LSTM, cell: Cell) -> dict[str, Any]:
    """The keywords about values of the cell, as far as it has them."""
    has_f, has_c, has_g = "f" in cell.gates, "c" in cell.states, "g" in cell.values
    chrono = layer.init == "chrono"
    of_g, of_h = keywords.recurrent_dropout_rates(layer.recurrent_dropout, layer.cell)
    of_state, of_c = keywords.zoneout_rates(layer.zoneout, layer.cell)
    return {
        "init": "torch" if chrono and not has_f else layer.init,
        "max_lag": layer.max_lag if has_f else None,
        "forget_bias": layer.forget_bias if has_f else None,
        "cell_clip": layer.cell_clip if has_c else None,
        "zoneout": (of_state, of_c if has_c else 0.0),
        "recurrent_dropout": {"g": of_g if has_g else 0.0, "h": of_h},
    }
