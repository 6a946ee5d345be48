"""Whether an x that is given by indices fits its call."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.kernels.interface import Request


def check_indices(request: Request) -> None:
    """Look at the indices of a call, whose values must be readable; those in padding may be anything.

    Raises:
        InputError: one that is read does not lie between 0 and I, or the entries of a step and row do not
            follow those of the one before.
    """
    x, inputs = request.data, request.weights[0][0]["weight_ih"].size(1)
    indices = x.flatten()
    if request.entries:
        indices = request.entries[0]
        _check_beginnings(x.flatten(), indices.size(0))
    if indices.numel() == 0:
        return
    least, most = map(int, torch.aminmax(indices))
    if least >= 0 and most < inputs:
        return
    places = _places(request, indices)
    wrong = (indices < 0) | (indices >= inputs)
    if request.lengths is not None:
        batch = max(1, request.batch)
        wrong &= places // batch < request.lengths[places % batch]
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise InputError(
            f"x has the index {int(indices[first])} {_where(request, int(places[first]))}; "
            f"with input_size {inputs} indices go from 0 to {inputs - 1}"
        )


def _places(request: Request, indices: Tensor) -> Tensor:
    """At which step and row each index is, as `t * B + b`."""
    numbers = torch.arange(indices.size(0))
    if not request.entries:
        return numbers
    return torch.searchsorted(request.data.flatten(), numbers, right=True) - 1


def _where(request: Request, place: int) -> str:
    if request.data.dim() == 1:
        return f"at place {place} of the packed data"
    step, row = divmod(place, request.batch)
    return f"at step {step} of row {row}"


def _check_beginnings(first: Tensor, count: int) -> None:
    if first.numel() == 0:
        fits = count == 0
    else:
        fits = int(first[0]) == 0 and int(first[-1]) <= count and not bool((first[1:] < first[:-1]).any())
    if not fits:
        raise InputError(
            "x must say where the entries of each step and row begin: from 0 on, never going back, up to "
            f"{count}, their number"
        )
