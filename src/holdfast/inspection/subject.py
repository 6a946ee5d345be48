"""What is inspected, whatever its task: a network around `holdfast.LSTM`, and the rows it reads."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.nn.fresh import fresh
from holdfast.nn.lstm import LSTM, Traced
from holdfast.nn.trace import Trace

Values = Mapping[str, NDArray[Any]]
Forward = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Run(NamedTuple):
    """One pass over a batch.

    Attributes:
        scores: of each output, `[B, K]`, before any softmax.
        traces: what happened in each LSTM of `Subject.layers`, time first; empty where none was asked for.
    """

    scores: Tensor
    traces: list[Trace]


@dataclass(frozen=True)
class Reading:
    """One row, as the recurrent layers see it.

    Attributes:
        name: what to call it: `"reviews.csv, row 12"`.
        steps: T labels of the steps: tokens, or times.
        x: what enters the first recurrent layer, at evaluation, `[T, 1, I]`.
        target: the label it should get, where that is known.

    Raises:
        InputError: x is not `[T, 1, I]` with T >= 1 and as many labels.
    """

    name: str
    steps: tuple[str, ...]
    x: Tensor
    target: str | None = None

    def __post_init__(self) -> None:
        if self.x.dim() != 3 or self.x.shape[1] != 1 or not len(self.x) or len(self.x) != len(self.steps):
            raise InputError(
                f"{self.name}: x must be [T, 1, I] with a label for each of T >= 1 steps; it is "
                f"{list(self.x.shape)} with {len(self.steps)} labels"
            )

    @property
    def lengths(self) -> Tensor:
        """`[1]`: T."""
        return torch.tensor([len(self.x)])


@dataclass(frozen=True)
class Subject:
    """A network with LSTM layers inside, as every inspection takes it; `Subject.of` makes one.

    Attributes:
        module: the network.
        outputs: K names of its scores.
        forward: `(module, x, lengths) -> scores`: from what enters the first recurrent layer, `[T, B, I]`
            with lengths `[B]`, to the scores `[B, K]`, differentiable.
        layers: its LSTMs, by their name in the module.

    Example:
        >>> class Counter(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.lstm, self.head = LSTM(3, 8), nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.head(self.lstm(x)[0][-1])
        >>> subject = Subject.of(Counter(), outputs=("few", "many"))
        >>> scores, traces = subject.run(torch.zeros(5, 1, 3), trace=True)
        >>> tuple(scores.shape), tuple(traces[0]["f"].shape)
        ((1, 2), (1, 1, 5, 1, 8))
    """

    module: nn.Module
    outputs: tuple[str, ...]
    forward: Forward
    layers: Mapping[str, LSTM]

    @classmethod
    def of(cls, module: nn.Module, outputs: Sequence[str], forward: Forward | None = None) -> Subject:
        """The subject around any module with at least one `holdfast.LSTM` in it.

        Args:
            module: the network. It is run at evaluation; its parameters and its mode stay as they are.
            outputs: the names of its K scores.
            forward: `(module, x, lengths) -> scores [B, K]` for x `[T, B, I]`, such as
                `lambda module, x, lengths: module.head(module.lstm(x.transpose(0, 1))[0][:, -1])`. None:
                `module(x, lengths=lengths)` where it has an argument of that name, else `module(x)`.

        Raises:
            InputError: there is no `holdfast.LSTM` in the module, or no output.
        """
        layers = {name or "lstm": layer for name, layer in module.named_modules() if isinstance(layer, LSTM)}
        if not layers or not outputs:
            lack = "names of its scores" if layers else "holdfast.LSTM in it (LSTM.from_torch makes one)"
            raise InputError(f"the {type(module).__name__} cannot be inspected: there are no {lack}")
        return cls(module, tuple(outputs), forward or _plain_forward(module), layers)

    def run(self, x: Tensor, lengths: Tensor | None = None, *, trace: Traced = False) -> Run:
        """Read a batch at evaluation; differentiable from x and the traced states to the scores.

        No parameter gets a gradient, so that `backward` costs less and leaves nothing behind.

        Args:
            x: what enters the first recurrent layer, `[T, B, I]`.
            lengths: `[B]`; None: all T.
            trace: whether to keep what happened; `"gradients"`: and its gradients after `backward`.

        Raises:
            InputError: the scores are not `[B, K]`, or a trace was asked for and no layer was called.
        """
        lengths = torch.full((x.shape[1],), len(x)) if lengths is None else lengths
        with ExitStack() as stack:
            stack.enter_context(_at_evaluation(self.module))
            kept = stack.enter_context(traced_calls(self.layers, trace))
            scores = self.forward(self.module, x, lengths)
        if scores.shape != (x.shape[1], len(self.outputs)):
            raise InputError(
                f"the network must give scores [B, K] = {[x.shape[1], len(self.outputs)]}, one for each of "
                f"{', '.join(self.outputs)}; it gave {list(scores.shape)}"
            )
        if not trace:
            return Run(scores, [])
        silent = [name for name, parts in kept.items() if not parts]
        if silent:
            raise InputError(f"there is nothing to trace: the network never called {', '.join(silent)}")
        return Run(scores, [Trace.joined(parts) for parts in kept.values()])

    @torch.no_grad()
    def values(self, readings: Sequence[Reading]) -> list[dict[str, NDArray[Any]]]:
        """Each named value of each LSTM over some readings as `[L, D, T, B, width]`, zero in padding."""
        traces = self.run(*batch_of(readings), trace=True).traces
        return [{name: value.numpy(force=True) for name, value in trace.items()} for trace in traces]

    @torch.no_grad()
    def scores(self, readings: Sequence[Reading]) -> NDArray[np.float64]:
        """Scores `[B, K]` of some readings."""
        return self.run(*batch_of(readings)).scores.double().numpy(force=True)

    def with_cell(self, cell: str, seed: int = 0) -> Subject:
        """The same network with another cell, or the same one (`"lstm"`), as it would begin to learn.

        The LSTMs, and all else that knows how (`reset_parameters`), get new first values. torch's random
        generator is left as it was.

        Args:
            cell: the name of the cell, `"rnn"` to see what gates are good for.
            seed: decides the first values.

        Raises:
            ConfigError: there is no such cell.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = _fresh(copy.deepcopy(self.module), cell)
        return Subject.of(module, self.outputs, self.forward)


def batch_of(readings: Sequence[Reading]) -> tuple[Tensor, Tensor]:
    """What enters the first recurrent layer for B readings, `[T, B, I]`, zeros after each, and lengths `[B]`.

    Raises:
        InputError: there is no reading.
    """
    if not readings:
        raise InputError("there is no reading to look at")
    rows = [reading.x[:, 0] for reading in readings]
    return nn.utils.rnn.pad_sequence(rows), torch.tensor([len(row) for row in rows])


def _plain_forward(module: nn.Module) -> Forward:
    if "lengths" in inspect.signature(module.forward).parameters:
        return lambda module, x, lengths: module(x, lengths=lengths)
    return _without_lengths


def _without_lengths(module: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    if bool((lengths != len(x)).any()):
        raise InputError(
            f"the {type(module).__name__} takes no lengths, so it reads rows of one length only; got lengths "
            f"{lengths.tolist()}: read row by row, or give Subject.of a forward that uses them"
        )
    return module(x)  # type: ignore[no-any-return]


@contextmanager
def _at_evaluation(module: nn.Module) -> Iterator[None]:
    """Without dropout and without gradients of parameters within the block."""
    modes = {part: part.training for part in module.modules()}
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.eval()
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)
        for part, training in modes.items():
            part.training = training


@contextmanager
def traced_calls(layers: Mapping[str, LSTM], trace: Traced) -> Iterator[dict[str, list[Trace]]]:
    """The traces of the calls of each layer within the block, which the network around them does not see.

    Args:
        layers: the LSTMs by name.
        trace: False for none; `"gradients"`: after `backward` with their gradients.
    """
    kept: dict[str, list[Trace]] = {name: [] for name in layers}

    def ask(layer: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return inputs, {**named, "return_trace": trace}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(layer: nn.Module, inputs: Any, result: Any) -> Any:
            kept[name].append(result[2].time_first())
            return result[:2]

        return hook

    with ExitStack() as stack:
        for name, layer in layers.items() if trace else ():
            stack.callback(layer.register_forward_pre_hook(ask, with_kwargs=True).remove)
            stack.callback(layer.register_forward_hook(keep(name)).remove)
        yield kept


def _fresh(module: nn.Module, cell: str) -> nn.Module:
    if isinstance(module, LSTM):
        return fresh(module, cell)
    for name, part in list(module.named_children()):
        setattr(module, name, _fresh(part, cell))
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
    return module
