"""What a backend is given, what it gives back, and what it must say about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from holdfast.cells import Cell, modifiers
from holdfast.kernels import checkpoints
from holdfast.notation import State

# weights[layer][direction] maps a parameter's name without its suffix to the tensor: weight_ih [G*H, I],
# weight_hh [G*H, P or H]; bias_ih and bias_hh [G*H], both or neither; weight_hr [P, H] with a projection;
# and the cell's own parameters.
Weights = Sequence[Sequence[Mapping[str, Tensor]]]
Values = Mapping[str, Tensor]
States = tuple[Tensor, ...]


@dataclass(frozen=True)
class Request:
    """One call of a recurrence: a whole stack of layers over a whole sequence.

    Attributes:
        cell: the equations, with the modifiers of the layer; those that a call adds (`project`, `reset`,
            `padded`, `tapped`) are in `step_cell`.
        x: `[T, B, I]`, not read in padding, which may be NaN; or a packed sequence in its sorted order. Or
            given by indices: int64 `[T, B]`, of which each stands for its one-hot vector; with `entries`,
            where those of each step and row begin among them.
        weights: one mapping per layer and direction, see `Weights`.
        state: one tensor `[L*D, B, width]` per state of the cell, or None for zeros.
        lengths: `[B]` int64, how many steps of each row are valid; None when all are.
        reset: `[T, B]` bool, which steps begin a new sequence; None when only the first does.
        start: what a reset re-initialises to, one tensor `[L*D, width]` per state, or None for zeros.
        seed: 0-dim int64 from which the masks of the cell are drawn.
        dropout: the probability of zeroing an element between two layers; 0 outside training.
        masks: in the place of `dropout`, what each layer after the first multiplies its input by,
            `[T, B, D*width]` each.
        residual: whether each layer after the first adds its input to its output.
        recompute: k to keep the states before every k-th step alone and to compute what the backward pass
            reads once more there, -1 for a k of about the square root of T; 0 to keep every value. Never with
            a trace.
        bfloat16: whether the operands of its products are rounded to bfloat16. All its numbers are float32
            then, those of its results too; only the core takes such a call.
        trace: whether every named value is wanted.
        taps: zeros `[L, D, T, B, width]` by name whose gradients show what flows backwards, or None.
        as_cell: whether this is one step of one layer that stands in for PyTorch's cell, not for its layer;
            PyTorch's comes first there, since its bits count.
        entries: of a sparse x, first `[N]` int64: which of the I inputs each entry is; then, unless all are
            1, `[N]`: their values, which may add up. Those of one step and row lie together, in the order
            of `t * B + b`, up to where the next ones begin.
    """

    cell: Cell
    x: Tensor | PackedSequence
    weights: Weights
    state: tuple[Tensor, ...] | None = None
    lengths: Tensor | None = None
    reset: Tensor | None = None
    start: tuple[Tensor, ...] | None = None
    seed: Tensor | None = None
    dropout: float = 0.0
    masks: tuple[Tensor, ...] = ()
    residual: bool = False
    recompute: int = 0
    bfloat16: bool = False
    trace: bool = False
    taps: Values | None = None
    as_cell: bool = False
    entries: tuple[Tensor, ...] = ()

    @property
    def data(self) -> Tensor:
        """The tensor that holds the input, packed or not."""
        return self.x.data if isinstance(self.x, PackedSequence) else self.x

    @property
    def by_index(self) -> bool:
        """Whether x is given by indices."""
        return self.data.dtype == torch.int64

    @property
    def like(self) -> Tensor:
        """A tensor of the type and on the device of the numbers of the call."""
        return self.weights[0][0]["weight_hh"] if self.by_index else self.data

    @property
    def leading(self) -> torch.Size:
        """`[T, B]`, or of a packed sequence `[N]`."""
        return self.data.shape if self.by_index else self.data.shape[:-1]

    @property
    def batch(self) -> int:
        """B."""
        return int(self.x.batch_sizes[0]) if isinstance(self.x, PackedSequence) else self.x.size(1)

    @property
    def layers(self) -> int:
        """L."""
        return len(self.weights)

    @property
    def directions(self) -> int:
        """D."""
        return len(self.weights[0])

    @property
    def hidden(self) -> int:
        """H."""
        return self.weights[0][0]["weight_hh"].size(0) // len(self.cell.gates)

    @property
    def width(self) -> int:
        """The width of h: P with a projection, else H."""
        return self.weights[0][0]["weight_hh"].size(1)

    @property
    def projected(self) -> bool:
        """Whether h is projected."""
        return modifiers.PROJECTION in self.weights[0][0]

    @property
    def spacing(self) -> int:
        """k, where `recompute` asks for checkpoints; else 0."""
        return checkpoints.spacing(self.recompute, self.data.size(0))

    def columnwise(self, direction: int) -> bool:
        """Whether the gradient of weight_ih lies column by column in that direction of the first layer.

        It does where x is given by indices and the weight itself lies so.
        """
        weight = self.weights[0][direction]["weight_ih"]
        return self.by_index and weight.t().is_contiguous() and not weight.is_contiguous()

    def width_of(self, name: str) -> int:
        """The width of a named value."""
        return self.width if name == "h" else self.hidden

    def to(self, dtype: torch.dtype) -> Request:
        """The same with every number in that type."""

        def cast(tensors: States) -> States:
            return tuple([tensor.to(dtype) for tensor in tensors])

        return replace(
            self,
            x=self.x if self.by_index else self.x.to(dtype),
            entries=(*self.entries[:1], *cast(self.entries[1:])),
            weights=[
                [{name: weight.to(dtype) for name, weight in own.items()} for own in layer]
                for layer in self.weights
            ],
            state=None if self.state is None else cast(self.state),
            start=None if self.start is None else cast(self.start),
            masks=cast(self.masks),
            taps=None if self.taps is None else {name: tap.to(dtype) for name, tap in self.taps.items()},
        )

    def initial_state(self) -> tuple[Tensor, ...]:
        """The given state, or zeros in the dtype and on the device of the call."""
        if self.state is not None:
            return self.state
        rows = self.layers * self.directions
        return tuple(self.like.new_zeros(rows, self.batch, self.width_of(name)) for name in self.cell.states)


@dataclass(frozen=True)
class Result:
    """What a recurrence gives back.

    Attributes:
        output: `[T, B, D*(P or H)]`, zero in padding; packed when the input was.
        state: one tensor `[L*D, B, width]` per state of the cell, after each row's last valid step.
        trace: each named value as `[L, D, T, B, width]` in time order, zero in padding; states
            differentiable, gates detached; or None when not asked for.
        taps: zeros of the same shapes for each gate and for h and c, whose gradients are those of the
            pre-activations, of h and of c; or None when not asked for.
    """

    output: Tensor | PackedSequence
    state: tuple[Tensor, ...]
    trace: dict[str, Tensor] | None = None
    taps: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class Forward:
    """What a backend's forward pass gives: the result and what its backward pass needs of it.

    Attributes:
        output: `[T, B, D*(P or H)]`.
        state: as in `Result`.
        values: each named value as in a trace, or empty where nothing is kept.
        parts: of split gates, `[L, D, T, B, H]` by symbol (`x_i`, `r_i`).
        checkpoints: in their place, where the request has `recompute`: each state `[L, D, C, B, width]` by
            name before the steps that run as number 0, k, 2 k, ...; nobody looks at that before the first.
        passed: with those of several layers, what each but the last gave, `[L - 1, T, B, D*(P or H)]`.
    """

    output: Tensor
    state: tuple[Tensor, ...]
    values: Values = field(default_factory=dict)
    parts: Values = field(default_factory=dict)
    checkpoints: Values = field(default_factory=dict)
    passed: Tensor | None = None


@dataclass(frozen=True)
class Upstream:
    """The gradients that reach the results of a forward pass; None or left out where there is none."""

    output: Tensor | None
    state: Sequence[Tensor | None]
    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class Gradients:
    """The gradients of a call's inputs, of the shapes of `Request`; those not wanted may be left out.

    x is None then, and the mappings of `weights` are empty.
    """

    x: Tensor | None
    weights: Sequence[Sequence[Values]]
    state: tuple[Tensor, ...]
    start: tuple[Tensor, ...]
    taps: Values


# So that torch.export.save can write down what an exported layer returns.
torch.utils._pytree._register_namedtuple(State, serialized_type_name="holdfast.State")


class Wanted(NamedTuple):
    """Which of the gradients that cost a product each are wanted: of the input, of the weights."""

    x: bool
    weights: bool

    def includes(self, kind: str) -> bool:
        """Whether those of that kind of input are wanted; the others cost next to nothing, and always are."""
        return {"x": self.x, "weights": self.weights}.get(kind, True)


class Backend(Protocol):
    """One implementation of the recurrence.

    Forward and backward are called without autograd: inside the opaque operators of `operators.py`, or past
    them where nothing but autograd looks at a call.

    Attributes:
        name: what `backend=` calls it.
        gives_new_tensors: whether each tensor that it gives is new and dense, no view, and shares its memory
            with no other, so that nobody need look.
    """

    name: str
    gives_new_tensors: bool

    @property
    def summary(self) -> str:
        """One line on what it is."""

    def available(self) -> str | None:
        """None where this backend can run at all on this machine, else what is missing."""

    def supports(self, request: Request) -> str | None:
        """None where this backend can run this call, else the reason why not.

        Decided by device, type and cell only: sizes and lengths may be unknown yet.
        """

    def keeps(self, request: Request) -> bool:
        """Whether `forward` keeps anything of this call when asked to keep what backward needs.

        That is `values` and `parts`, or `checkpoints` and `passed` where the request has `recompute`.
        """

    def keeps_besides(self, request: Request) -> Mapping[str, int]:
        """The names of what it keeps in `Forward.parts` besides the parts of split gates, with the widths."""

    def forward(self, request: Request, keep: bool) -> Forward:
        """Run a call that `supports` accepted; `request.x` is padded."""

    def backward(self, request: Request, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
        """Differentiate it; of `kept`, output and state are not there."""


def step_cell(request: Request) -> Cell:
    """The cell with what the call adds to it."""
    cell = request.cell
    if request.projected:
        cell = modifiers.project(cell)
    if request.reset is not None:
        cell = modifiers.reset(cell)
    if request.lengths is not None:
        cell = modifiers.padded(cell)
    return modifiers.tapped(cell) if request.taps else cell


def named_state(cell: Cell, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A `State(h, c)` for the cells that carry these two, else the plain tuple."""
    return State(*state) if cell.states == ("h", "c") else state


def valid_steps(lengths: Tensor, steps: int, device: torch.device) -> Tensor:
    """`[T, B, 1]`: true where a step is within its row's length."""
    time = torch.arange(steps, device=device).unsqueeze(1)
    return (time < lengths.to(device)).unsqueeze(2)


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast asks for on that device; None where it is off or there is none."""
    if not torch._C._is_any_autocast_enabled():  # the quick answer
        return None
    if not torch.amp.is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def call_type(request: Request) -> torch.dtype:
    """The type of what a call gives back: autocast's, which leaves float64 alone, or that of its numbers."""
    own = request.like.dtype
    return own if own == torch.float64 else autocast_type(request.data.device) or own


def being_recorded() -> bool:
    """Whether the call runs under torch.compile or torch.export, or `torch.jit.trace` records it."""
    return torch.compiler.is_compiling() or being_traced()


def being_traced() -> bool:
    """Whether `torch.jit.trace` records this call."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
