"""PyTorch's own fused LSTM and tanh RNN: oneDNN on CPU, cuDNN on CUDA.

With `lengths` it runs the padded batch through the same fused call, exact to the bit where it matters: an
extra input feature, 1 in padding and 0 elsewhere, drives the input gate to exactly 0 and the forget gate to
exactly 1, so that c passes through padding unchanged and no gradient enters there.

In the place of an x that is given by indices the W x of all directions is looked up, and weight_ih becomes
the identity that picks those of its own direction.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from holdfast.kernels.gather import entries_of, product
from holdfast.kernels.interface import (
    Forward,
    Gradients,
    Request,
    Result,
    States,
    Upstream,
    Wanted,
    autocast_type,
    being_traced,
    valid_steps,
)

# Added to a pre-activation in padding so that its sigmoid is exactly 0 or 1, whatever the weights and inputs
# make of it below this bound. It leaves room below the largest number, so that no sum overflows; float16 has
# no such room and takes its largest number: an overflow to infinity is on the right side too.
SATURATING = 2.0**100
SATURATING_FLOAT16 = torch.finfo(torch.float16).max

_WEIGHT_ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class TorchBackend:
    """Runs the plain cells through PyTorch's fused path."""

    name = "torch"
    gives_new_tensors = False
    summary = "PyTorch's own fused path: oneDNN on CPU, cuDNN on CUDA"

    def available(self) -> str | None:
        return None

    def supports(self, request: Request) -> str | None:
        if request.cell.modifiers:
            changes = ", ".join(name.replace("_", " ") for name, _ in request.cell.modifiers)
            return f"PyTorch's fused path runs the plain cell only, without {changes}"
        if request.cell.spec not in {"lstm", "rnn"}:
            return f"PyTorch has no fused path for the cell {request.cell.name!r}, only for lstm and rnn"
        if request.trace or request.taps:
            return "PyTorch's fused path does not give out its gates, which return_trace needs"
        if request.reset is not None:
            return "PyTorch's fused path cannot begin a new sequence within one, which reset asks for"
        if request.recompute:
            return "PyTorch's fused path keeps every value for its backward pass, which recompute forbids"
        if request.projected and request.cell.spec == "rnn":
            return "PyTorch's tanh RNN has no projection"
        return None

    def keeps(self, request: Request) -> bool:
        return False

    def run(self, request: Request) -> Result:
        """Run it under PyTorch's own autograd."""
        if request.by_index:
            request = _looked_up(request)
        if request.as_cell:
            return _run_cell(request, request.data)
        if request.data.size(0) == 0:
            state = tuple(part.clone() for part in request.initial_state())
            return Result(request.data.new_zeros(0, request.batch, request.directions * request.width), state)
        if isinstance(request.x, PackedSequence):
            return _run_packed(request, request.x)
        if request.lengths is None:
            return _run_dense(request, request.x)
        return _run_with_lengths(request, request.x, request.lengths)

    def keeps_besides(self, request: Request) -> dict[str, int]:
        return {}

    def forward(self, request: Request, keep: bool) -> Forward:
        with torch.no_grad():
            result = self.run(request)
        assert isinstance(result.output, Tensor)
        return Forward(result.output, result.state)

    def backward(self, request: Request, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
        """Run it once more and differentiate: between two operators nothing of PyTorch's own is kept."""
        weights = [[dict(own) for own in directions] for directions in request.weights]

        def results(x: list[Tensor], weights: Any, state: States) -> list[Tensor]:
            (data,) = x or [request.data]
            result = self.run(replace(request, x=data, weights=weights, state=state or None))
            everything = (result.output, *result.state)
            return [one for one, wanted in zip(everything, reaching, strict=True) if wanted is not None]  # type: ignore[misc]

        reaching = (upstream.output, *upstream.state)
        # Within an operator autograd is switched off for good; torch.func works there. PyTorch's layer asks
        # the grad mode whether to keep what its own backward pass needs.
        with torch.enable_grad():
            x = [] if request.by_index else [request.data]
            _, pull, *_ = torch.func.vjp(results, x, weights, request.state or ())
        d_x, d_weights, d_state = pull([gradient for gradient in reaching if gradient is not None])
        return Gradients(d_x[0] if wanted.x else None, d_weights, d_state, (), {})


def _looked_up(request: Request) -> Request:
    """The same with an x of numbers, of whose I = D*G*H each direction reads G*H."""
    valid = None
    if request.lengths is not None:
        valid = valid_steps(request.lengths, request.data.size(0), request.data.device).squeeze(2)
    entries = entries_of(request, valid)
    first = [own["weight_ih"] for own in request.weights[0]]
    data = torch.cat([product(weight, entries) for weight in first], dim=-1)
    picks = torch.eye(data.size(-1), dtype=data.dtype, device=data.device).chunk(len(first))
    own = [{**own, "weight_ih": pick} for own, pick in zip(request.weights[0], picks, strict=True)]
    x = request.x._replace(data=data) if isinstance(request.x, PackedSequence) else data
    return replace(request, x=x, weights=[own, *request.weights[1:]], entries=())


def _run_cell(request: Request, x: Tensor) -> Result:
    """One step as PyTorch's cells do it: quicker than a sequence of one step, and their bits."""
    own = request.weights[0][0]
    weights: Any = [own.get(name) for name in _WEIGHT_ORDER[:4]]
    state = tuple([part[0] for part in request.initial_state()])
    after: States
    if request.cell.spec == "lstm":
        after = torch.lstm_cell(x[0], state, *weights)
    else:
        after = (torch.rnn_tanh_cell(x[0], state[0], *weights),)
    return Result(after[0].unsqueeze(0), tuple([part.unsqueeze(0) for part in after]))


def _run_dense(request: Request, x: Tensor) -> Result:
    if request.masks or request.residual:
        return _layer_by_layer(request, x)
    output, state = _fused(request, x, request.weights, request.initial_state(), request.dropout)
    return Result(output, state)


def _run_packed(request: Request, packed: PackedSequence) -> Result:
    sizes = packed.batch_sizes
    if request.residual:
        result = _layer_by_layer(request, packed.data, sizes)
        data, state = result.output, result.state
        assert isinstance(data, Tensor)
    else:
        data, state = _fused(
            request, packed.data, request.weights, request.initial_state(), request.dropout, sizes
        )
    output = PackedSequence(data, sizes, packed.sorted_indices, packed.unsorted_indices)
    return Result(output, state)


def _layer_by_layer(request: Request, x: Tensor, batch_sizes: Tensor | None = None) -> Result:
    """One call for each layer, where something lies between them that PyTorch's call does not do."""
    directions, final = request.directions, []
    for layer, weights in enumerate(request.weights):
        rows = tuple(part[layer * directions : (layer + 1) * directions] for part in request.initial_state())
        output, state = _fused(
            request, _layer_input(request, layer, x), [weights], rows, batch_sizes=batch_sizes
        )
        x = output + x if request.residual and layer > 0 else output
        final.append(state)
    return Result(x, tuple(torch.cat(parts) for parts in zip(*final, strict=True)))


def _layer_input(request: Request, layer: int, x: Tensor) -> Tensor:
    if layer == 0:
        return x
    if request.masks:
        return x * request.masks[layer - 1]
    return functional.dropout(x, request.dropout) if request.dropout > 0 else x


def _fused(
    request: Request,
    x: Tensor,
    weights: Sequence[Sequence[Mapping[str, Tensor]]],
    state: tuple[Tensor, ...],
    dropout: float = 0.0,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One call of torch.lstm or torch.rnn_tanh over a stack of layers."""
    flat = [
        direction[name]
        for layer in weights
        for direction in layer
        for name in _WEIGHT_ORDER
        if name in direction
    ]
    biased = "bias_ih" in weights[0][0]
    kind = torch.lstm if request.cell.spec == "lstm" else torch.rnn_tanh
    start = state if request.cell.spec == "lstm" else state[0]
    # In PyTorch's training mode the call drops and keeps what backward needs; dropout is 0 outside training.
    train = request.dropout > 0 or torch.is_grad_enabled() or being_traced()
    options = (flat, biased, len(weights), dropout, train, len(weights[0]) == 2)
    arguments = (x, start, *options, False) if batch_sizes is None else (x, batch_sizes, start, *options)
    with _without_known_warnings(x, weights):
        output, *final = kind(*arguments)
    return output, tuple(final)


@dataclass(frozen=True)
class _Padding:
    """Where the padding of a batch is: valid `[T, B, 1]`, index `[1, B, 1]` of each row's last valid step."""

    lengths: Tensor
    valid: Tensor
    flags: Tensor
    reversed_time: Tensor

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor) -> _Padding:
        lengths = lengths.to(x.device)
        valid = valid_steps(lengths, x.size(0), x.device)
        time = torch.arange(x.size(0), device=x.device).unsqueeze(1)
        backwards = torch.where(valid.squeeze(2), lengths - 1 - time, time).unsqueeze(2)
        return cls(lengths, valid, (~valid).to(x.dtype), backwards)

    def reverse(self, x: Tensor) -> Tensor:
        """Turn the valid part of each row around; its own inverse."""
        return x.gather(0, self.reversed_time.expand_as(x))

    def last_valid(self, x: Tensor, initial: Tensor) -> Tensor:
        """What `x` `[T, B, width]` holds at each row's last valid step; `initial` for an empty row."""
        index = (self.lengths - 1).clamp(min=0).view(1, -1, 1).expand(1, -1, x.size(2))
        return torch.where(self.lengths.view(-1, 1) > 0, x.gather(0, index).squeeze(0), initial.to(x.dtype))


def _run_with_lengths(request: Request, x: Tensor, lengths: Tensor) -> Result:
    padding = _Padding.of(x, lengths)
    x = torch.where(padding.valid, x, 0.0)
    state = request.initial_state()
    directions = request.directions
    final: list[tuple[Tensor, ...]] = []
    for layer, weights in enumerate(request.weights):
        entering = _layer_input(request, layer, x)
        rows = tuple(part[layer * directions : (layer + 1) * directions] for part in state)
        if request.cell.spec == "lstm" and request.state is None:
            output, after = _whole_layer(request, entering, weights, rows, padding)
        else:
            output, after = _direction_by_direction(request, entering, weights, rows, padding)
        output = torch.where(padding.valid, output, 0.0)
        x = output + x if request.residual and layer > 0 else output
        final.append(after)
    return Result(x, tuple(torch.cat(parts) for parts in zip(*final, strict=True)))


def _whole_layer(
    request: Request,
    x: Tensor,
    weights: Sequence[Mapping[str, Tensor]],
    state: tuple[Tensor, ...],
    padding: _Padding,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Both directions in one call, from zeros.

    The reverse direction meets the padding first: there c stays 0, so h stays 0 too, and the first valid
    step starts from the zero state as it should.
    """
    output, (h, c) = _fused_frozen(request, x, weights, state, padding)
    forward_h = padding.last_valid(output[..., : request.width], state[0][0])
    return output, (torch.cat([forward_h.unsqueeze(0), h[1:]]), c)


def _direction_by_direction(
    request: Request,
    x: Tensor,
    weights: Sequence[Mapping[str, Tensor]],
    state: tuple[Tensor, ...],
    padding: _Padding,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Each direction as a forward one over rows whose valid part comes first."""
    outputs, final = [], []
    for d, own in enumerate(weights):
        source = padding.reverse(x) if d == 1 else x
        rows = tuple(part[d : d + 1] for part in state)
        if request.cell.spec == "lstm":
            output, after = _fused_frozen(request, source, [own], rows, padding)
        else:
            output, after = _fused(request, source, [[own]], rows)
        final.append((padding.last_valid(output, rows[0][0]).unsqueeze(0), *after[1:]))
        outputs.append(padding.reverse(output) if d == 1 else output)
    return torch.cat(outputs, dim=2), tuple(torch.cat(parts) for parts in zip(*final, strict=True))


def _fused_frozen(
    request: Request,
    x: Tensor,
    weights: Sequence[Mapping[str, Tensor]],
    state: tuple[Tensor, ...],
    padding: _Padding,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer of the fused LSTM whose cell state does not change in padding."""
    hidden = request.hidden
    bound = saturating(x)
    frozen = x.new_tensor([-bound, bound, 0.0, 0.0]).repeat_interleave(hidden).unsqueeze(1)
    widened = [
        {**own, "weight_ih": torch.cat([own["weight_ih"], frozen.to(own["weight_ih"].dtype)], dim=1)}
        for own in weights
    ]
    return _fused(request, torch.cat([x, padding.flags], dim=2), [widened], state)


def saturating(x: Tensor) -> float:
    """The constant for the type that the call computes in, which autocast may change."""
    return SATURATING_FLOAT16 if torch.float16 in (x.dtype, autocast_type(x.device)) else SATURATING


@contextmanager
def _without_known_warnings(x: Tensor, weights: Sequence[Sequence[Mapping[str, Tensor]]]) -> Iterator[None]:
    """PyTorch warns where a projection leaves oneDNN and where cuDNN copies weights; both are as intended."""
    if not x.is_cuda and "weight_hr" not in weights[0][0]:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        warnings.filterwarnings(
            "ignore", message="RNN module weights are not part of single contiguous chunk"
        )
        yield
