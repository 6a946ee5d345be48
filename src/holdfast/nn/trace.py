"""What happened inside a call: the values by name, and after backward their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from holdfast.errors import InputError
from holdfast.nn.layout import Layout


class UnknownValueError(InputError, KeyError):
    """A trace was asked for a value that the cell does not name."""

    __str__ = Exception.__str__  # KeyError would quote the message


class Trace(dict[str, Tensor]):
    """Each named value of a call: `[L, D, T, B, width]` in the caller's layout, see `LSTM.forward`.

    Args:
        values: the values by name.
        taps: for each gate and state the tensor whose `.grad` backward fills; None where none were asked for.
        layout: how the taps are turned to the caller's layout.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        taps: Mapping[str, Tensor] | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(values)
        self._taps = taps
        self._layout = layout
        self._parts: tuple[Trace, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence[Trace]) -> Trace:
        """One trace of calls that followed each other in time, such as windows of a long sequence.

        Args:
            parts: their traces, `[L, D, T, B, width]` with time first (see `time_first`).
        """
        if len(parts) == 1:
            return parts[0]
        whole = cls({name: torch.cat([part[name] for part in parts], 2) for name in parts[0]})
        whole._parts = tuple(parts)
        return whole

    def time_first(self) -> Trace:
        """The same with the axes `[L, D, T, B, width]`, whatever the layout of the call was."""
        layout = self._layout
        if layout is None or (layout.batched and not layout.batch_first):
            return self
        turn: Callable[[Tensor], Tensor] = _batch_second if layout.batched else _with_batch
        values = {name: turn(value) for name, value in self.items()}
        return Trace(values, self._taps, Layout(batched=True, batch_first=False))

    def __missing__(self, name: str) -> Tensor:
        raise UnknownValueError(f"the trace has no value {name!r}; it has {', '.join(self) or 'none'}")

    def __repr__(self) -> str:
        shapes = (f"{name}: {list(value.shape)}" for name, value in self.items())
        return f"Trace({', '.join(shapes)})"

    @property
    def gradients(self) -> Trace:
        """The gradient of the loss, after `backward`: shaped as the trace.

        For each gate that to its pre-activation; for h and c that to the value itself over all its later
        uses. Zero in padding. Several calls of `backward` add up, as in `Tensor.grad`.

        Raises:
            InputError: the call was not made with `return_trace="gradients"`, or under `torch.no_grad`, or no
                gradient has come yet.
        """
        if self._parts:
            return self._joined_gradients()
        if self._taps is None or self._layout is None:
            raise InputError('this trace has no gradients: call the layer with return_trace="gradients"')
        if not any(tap.requires_grad for tap in self._taps.values()):
            raise InputError(
                "this trace has no gradients: the call was made under torch.no_grad or inference_mode; "
                "make it outside of them"
            )
        arrived = {name: tap.grad for name, tap in self._taps.items()}
        if all(gradient is None for gradient in arrived.values()):
            raise InputError(
                "the gradients of this trace are not there yet: call backward() on a loss of this call's "
                "output first (torch.autograd.grad leaves none)"
            )
        gradients = {
            name: self._layout.trace(
                torch.zeros_like(tap) if (gradient := arrived[name]) is None else gradient
            )
            for name, tap in self._taps.items()
        }
        return Trace(gradients)

    def _joined_gradients(self) -> Trace:
        """Those of the parts; zeros of a part that had no share in the loss."""
        arrived = [any(tap.grad is not None for tap in (part._taps or {}).values()) for part in self._parts]
        if not any(arrived):
            return self._parts[0].gradients  # which says why
        names = self._parts[arrived.index(True)].gradients
        return Trace.joined(
            [
                part.gradients if came else Trace({name: torch.zeros_like(part[name]) for name in names})
                for part, came in zip(self._parts, arrived, strict=True)
            ]
        )


def _batch_second(value: Tensor) -> Tensor:
    return value.transpose(2, 3)


def _with_batch(value: Tensor) -> Tensor:
    return value.unsqueeze(3)


def _flatten(trace: Trace) -> tuple[list[Any], list[str]]:
    return list(trace.values()), list(trace)


def _unflatten(values: Any, names: Any) -> Trace:
    return Trace(dict(zip(names, values, strict=True)))


# So that torch.func and torch.export see the tensors inside.
_pytree.register_pytree_node(Trace, _flatten, _unflatten, serialized_type_name="holdfast.nn.trace.Trace")
