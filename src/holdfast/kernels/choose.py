"""Which backend runs a call, and why the others do not."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.utils.rnn import PackedSequence

from holdfast.errors import BackendError, ConfigError
from holdfast.kernels.interface import Backend, Request, call_type
from holdfast.kernels.native import NativeBackend
from holdfast.kernels.reference import ReferenceBackend
from holdfast.kernels.torch_native import TorchBackend

# The first one that supports a call runs it, unless another is asked for by name.
BACKENDS: tuple[Backend, ...] = (NativeBackend(), TorchBackend(), ReferenceBackend())
_FOR_SINGLE_STEPS = tuple(sorted(BACKENDS, key=lambda backend: backend.name != "torch"))


class BackendStatus(NamedTuple):
    """A backend as `holdfast doctor` shows it: `reason` says what is missing where it is not available."""

    name: str
    available: bool
    reason: str


def backends() -> list[BackendStatus]:
    """Every backend, in the order of preference, and whether it can run on this machine."""
    missing = [(backend, backend.available()) for backend in BACKENDS]
    return [
        BackendStatus(backend.name, reason is None, reason or backend.summary) for backend, reason in missing
    ]


def backend_named(name: str) -> Backend:
    """The backend of that name; `check_name` says whether there is one."""
    return next(backend for backend in BACKENDS if backend.name == name)


def preferred(request: Request) -> tuple[Backend, ...]:
    """The backends in the order in which they are asked to run a call."""
    return _FOR_SINGLE_STEPS if request.as_cell else BACKENDS


def refusal(backend: Backend, request: Request) -> str | None:
    """None where the backend can run this call here, else the reason why not."""
    return backend.available() or backend.supports(request)


def check_name(name: str) -> str:
    """The name itself, if it is `"auto"` or a backend's.

    Raises:
        ConfigError: it is neither.
    """
    known = ["auto", *(backend.name for backend in BACKENDS)]
    if name not in known:
        raise ConfigError(f"backend is {name!r}; it must be one of {', '.join(known)}")
    return name


def choose(request: Request, name: str = "auto") -> Backend:
    """The backend that runs this call.

    Args:
        request: the call.
        name: `"auto"` for the first that supports it, or a backend's name.

    Raises:
        ConfigError: there is no backend of that name.
        BackendError: the named backend cannot run this call; the message is its reason.
    """
    refusals = []
    for backend in preferred(request):
        if name not in ("auto", backend.name):
            continue
        reason = refusal(backend, request)
        if reason is None:
            return backend
        refusals.append(f"{backend.name}: {reason}")
    check_name(name)
    raise BackendError(f"backend={name!r} cannot run this call. " + "; ".join(refusals))


def explanation(request: Request, name: str = "auto") -> str:
    """One line on the chosen backend and one on each other: why it was not chosen."""
    chosen: Backend | None = None
    try:
        chosen = choose(request, name)
        notes = f"{_repacking(request, chosen)}{_rounding(request, chosen)}"
        lines = [f"{chosen.name}: chosen ({chosen.summary}{notes})"]
    except BackendError as error:
        lines = [str(error)]
    for backend in preferred(request):
        if backend is not chosen:
            reason = refusal(backend, request)
            why = f"refused: {reason}" if reason else "could run this call"
            lines.append(f"{backend.name}: {why}{_instead(reason, name, chosen)}")
    return "\n".join(lines)


def _repacking(request: Request, chosen: Backend) -> str:
    packed = isinstance(request.x, PackedSequence) and not isinstance(chosen, TorchBackend)
    return "; the packed sequence is padded, run with its lengths, and packed again" if packed else ""


def _rounding(request: Request, chosen: Backend) -> str:
    rounds = isinstance(chosen, NativeBackend) and call_type(request) == torch.bfloat16
    return "; products of bfloat16, all else in float32" if rounds else ""


def _instead(reason: str | None, name: str, chosen: Backend | None) -> str:
    if reason is not None or chosen is None:
        return ""
    return f"; {chosen.name} comes first" if name == "auto" else f"; backend={name!r} was asked for"
