"""holdfast's own core on the CPU, written in C++: every cell, with every modifier, and users' own cells."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from types import ModuleType

import torch

from holdfast.cells.core import reason_against_bfloat16, reason_against_core
from holdfast.cells.registry import BUILT_IN
from holdfast.compiling import loaded_variants
from holdfast.kernels.interface import Forward, Gradients, Request, Upstream, Wanted, call_type
from holdfast.kernels.native_call import CALLS, NativeCall, plan_of


def _reason_against(base: str) -> str | None:
    """Why the core cannot run the cell of that spec, which is not built in; it may be compiled for that."""
    found = _core if isinstance(_core, str) else loaded_variants(_core, base)
    return found if isinstance(found, str) else None


# What torch.compiler.assume_constant_result sets, which would import the compiler: a graph is made with what
# this says then, and nothing of it is in the graph.
_reason_against._dynamo_marked_constant = True  # type: ignore[attr-defined]

_OPENMP = ("libgomp", "libiomp5", "libomp")
# Cells by their spec without modifiers, of which the core has all: compilers can look up strings.
_BUILT_IN = frozenset(cell.spec for cell in BUILT_IN)


def _loaded() -> ModuleType | str:
    """The compiled core, or why there is none."""
    try:
        core = importlib.import_module("holdfast._core")
    except ModuleNotFoundError:
        return "the compiled core is not built"
    except ImportError as error:
        problem = f"the compiled core does not load: {error}"
        warnings.warn(f"{problem}; slower backends run in its place", RuntimeWarning, stacklevel=2)
        return problem
    if reason := reason_against_core(core):
        return reason
    _share_threads(core)
    return core


def _share_threads(core: ModuleType) -> None:
    """Let the core compute on the threads of torch's OpenMP, which would spin in the way of others."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return
    fields = [line.split(maxsplit=5) for line in maps.read_text(errors="replace").splitlines()]
    libraries = {Path(field[5]) for field in fields if len(field) == 6}
    runtimes = [path for path in libraries if path.name.startswith(_OPENMP)]
    any(core.adopt_openmp(str(path)) for path in sorted(runtimes, key=lambda path: "torch" not in path.parts))


_core = _loaded()


def _built() -> ModuleType:
    assert isinstance(_core, ModuleType)  # else `supports` has refused the call
    return _core


class NativeBackend:
    """Runs the printed cells in the compiled core."""

    name = "native"
    gives_new_tensors = True

    @property
    def summary(self) -> str:
        """What the core is, which instructions it uses and why those, and how many threads it may use."""
        if isinstance(_core, str):
            return "holdfast's own C++ core"
        why = (
            "which HOLDFAST_ISA asks for"
            if os.environ.get("HOLDFAST_ISA")
            else "the best that this processor runs"
        )
        threads = torch.get_num_threads()
        several = "1 thread" if threads == 1 else f"up to {threads} threads"
        return f"holdfast's own C++ core; instructions: {_core.level}, {why}; {several}"

    def available(self) -> str | None:
        return _core if isinstance(_core, str) else None

    def supports(self, request: Request) -> str | None:
        x = request.like
        if x.device.type != "cpu":
            return f"holdfast's core runs on the CPU, and the input is on {x.device}"
        dtype = call_type(request)
        if dtype == torch.bfloat16 and (reason := reason_against_bfloat16(_core)):
            return reason
        if dtype not in {torch.bfloat16, *CALLS}:
            return f"holdfast's core computes in float32 and float64, not in {dtype}"
        base = request.cell.spec.partition("|")[0]
        return None if base in _BUILT_IN else _reason_against(base)

    def keeps(self, request: Request) -> bool:
        return True

    def keeps_besides(self, request: Request) -> dict[str, int]:
        return plan_of(_built(), request).keeps_besides(request)

    def forward(self, request: Request, keep: bool) -> Forward:
        return NativeCall(_built(), request).forward(keep)

    def backward(self, request: Request, kept: Forward, upstream: Upstream, wanted: Wanted) -> Gradients:
        # Nothing flows back to an x of indices, so nothing reads what it was multiplied by.
        reads_input = not request.by_index or bool(request.recompute)
        return NativeCall(_built(), request, reads_input).backward(kept, upstream, wanted)
