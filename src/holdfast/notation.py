"""The letters, orders and small types that every other file uses; the one place that says what they mean.

Axes
    T  time steps                 I  input features
    B  sequences in a batch       H  hidden units (cells)
    L  stacked layers             P  projected hidden units
    D  directions: 1 or 2         G  gates (row blocks of the weight matrices)

Gate order
    i (input), f (forget), g (candidate), o (output), minus those that a cell lacks: PyTorch's order.

Weights of layer k, direction d (`_reverse` is appended for the second direction)
    weight_ih_l{k}        [G*H, I]           weight_hh_l{k}        [G*H, P or H]
    bias_ih_l{k}          [G*H]              bias_hh_l{k}          [G*H]
    weight_hr_l{k}        [P, H]             weight_peephole_l{k}  [3*H], rows i, f, o
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

GATE_ORDER = ("i", "f", "g", "o")


class State(NamedTuple):
    """The state of an LSTM between two steps: h `[L*D, B, P or H]` and c `[L*D, B, H]`, as in torch."""

    h: Tensor
    c: Tensor
