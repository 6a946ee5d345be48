"""A module that runs a cell under modifiers: what the layer and the single cell have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.cells import Cell, get, modifiers
from holdfast.errors import ConfigError, InputError
from holdfast.kernels import States
from holdfast.kernels.choose import check_name
from holdfast.kernels.interface import being_recorded
from holdfast.nn import keywords


class Modified(nn.Module):
    """Holds a cell, and the same under its modifiers for training and for evaluation.

    The two are prepared when a keyword is set, here or later by assignment; a call only looks them up.
    """

    # What a keyword is when the plain module of PyTorch is meant, in the order in which repr shows them.
    _plain: Mapping[str, Any] = {
        "cell": "lstm",
        "recurrent_dropout": 0.0,
        "zoneout": 0.0,
        "cell_clip": None,
        "forget_bias": None,
        "init": "torch",
        "max_lag": None,
        "backend": "auto",
    }

    def __init__(
        self,
        cell: str | Cell,
        *,
        recurrent_dropout: float | Mapping[str, float],
        zoneout: float | tuple[float, float],
        cell_clip: float | None,
        backend: str,
    ) -> None:
        super().__init__()
        self._cell = get(cell)
        self.backend = backend
        self._recurrent_dropout: float | dict[str, float] = 0.0
        self._zoneout: float | tuple[float, float] = 0.0
        self._cell_clip: float | None = None
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout
        self.cell_clip = cell_clip

    @property
    def cell(self) -> Cell:
        """The equations; fixed when the module is made, since its parameters follow from them."""
        return self._cell

    @cell.setter
    def cell(self, value: object) -> None:
        raise fixed(self, "cell", value)

    @property
    def backend(self) -> str:
        """`"auto"`, or the backend that must run every call."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        self._backend = check_name(value)

    def _set_first_values(
        self, init: str, max_lag: float | None, forget_bias: float | None, *, bias: bool
    ) -> None:
        keywords.check_first_values(init, max_lag, forget_bias, self.cell, bias)
        self.init, self.max_lag, self.forget_bias = init, max_lag, forget_bias

    @property
    def recurrent_dropout(self) -> float | Mapping[str, float]:
        """Dropout in the recurrence, as it was given; 0.0 for none."""
        given = self._recurrent_dropout
        return dict(given) if isinstance(given, Mapping) else given

    @recurrent_dropout.setter
    def recurrent_dropout(self, value: float | Mapping[str, float]) -> None:
        rates = keywords.recurrent_dropout_rates(value, self.cell)
        if isinstance(value, Mapping) and any(rates):
            self._recurrent_dropout = {key: float(rate) for key, rate in value.items()}
        else:
            self._recurrent_dropout = rates[0]
        self._prepare()

    @property
    def zoneout(self) -> float | tuple[float, float]:
        """Zoneout of h and c, as it was given; 0.0 for none."""
        return self._zoneout

    @zoneout.setter
    def zoneout(self, value: float | tuple[float, float]) -> None:
        rates = keywords.zoneout_rates(value, self.cell)
        self._zoneout = rates if isinstance(value, tuple | list) and any(rates) else rates[0]
        self._prepare()

    @property
    def cell_clip(self) -> float | None:
        """The bound of |c|, or None."""
        return self._cell_clip

    @cell_clip.setter
    def cell_clip(self, value: float | None) -> None:
        self._cell_clip = keywords.clip_limit(value, self.cell)
        self._prepare()

    def _prepare(self) -> None:
        """The cell of training, and that of evaluation: no dropout, zoneout by its expectation."""
        training = self.cell if self.cell_clip is None else modifiers.clip(self.cell, self.cell_clip)
        evaluation = training
        of_g, of_h = keywords.recurrent_dropout_rates(self._recurrent_dropout, self.cell)
        if of_g:
            training = modifiers.cell_dropout(training, of_g)
        if of_h:
            training = modifiers.state_dropout(training, of_h)
        kept = keywords.zoneout_rates(self._zoneout, self.cell)
        if any(kept):
            training = modifiers.zoneout(training, *kept)
            evaluation = modifiers.expected_zoneout(evaluation, *kept)
        self._training_cell, self._evaluation_cell = training, evaluation

    @property
    def _current_cell(self) -> Cell:
        return self._training_cell if self.training else self._evaluation_cell

    def _differences(self) -> dict[str, Any]:
        """The keywords whose value is not that of the plain module."""
        values = {name: getattr(self, name) for name in self._plain}
        if "cell" in values:
            values["cell"] = self.cell.name
        return {name: value for name, value in values.items() if value != self._plain[name]}

    def _checked_parts(self, state: object) -> States:
        """A given state, if it is a tuple with one tensor per state of the cell."""
        names = self.cell.states
        if not isinstance(state, tuple | list) or len(state) != len(names):
            got = f"{len(state)} tensors" if isinstance(state, tuple | list) else type(state).__name__
            wanted = f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"
            raise InputError(f"the state of the cell {self.cell.name!r} is the tuple {wanted}, got {got}")
        return tuple(state)


def fixed(module: nn.Module, name: str, value: object) -> ConfigError:
    """The error of an assignment to what a module cannot change any more."""
    kind, wanted = type(module).__name__, keywords.described(value)
    return ConfigError(
        f"{name} is fixed when the {kind} is made: make a new one with {name}={wanted} instead"
    )


def refuse_recorded(message: str) -> None:
    """Keep out of graphs what no graph can hold.

    Raises:
        InputError: with the message, if the call is exported or traced. `torch.compile` says it with
            `fullgraph=True`; else it breaks its graph here, and the call runs eagerly.
    """
    if torch.compiler.is_dynamo_compiling():
        torch._dynamo.graph_break(msg=message)
    elif being_recorded():
        raise InputError(message)


def draw_seed(cell: Cell, generator: torch.Generator | None) -> Tensor | None:
    """The seed of a call's masks, 0-dim int64; None for a cell that draws none.

    Raises:
        InputError: the generator is none.
    """
    if not isinstance(generator, torch.Generator | None):
        raise InputError(f"generator must be a torch.Generator or None, got {keywords.described(generator)}")
    if not cell.draws:
        return None
    if generator is not None:
        refuse_recorded("generator is for eager calls: leave it out here, and use torch.manual_seed")
    device = "cpu" if generator is None else generator.device
    return torch.randint(0, 2**63 - 1, (), dtype=torch.int64, generator=generator, device=device)
