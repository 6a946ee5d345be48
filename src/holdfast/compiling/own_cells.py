"""Cells that are not built in, as the compiled core has them in this process.

The first call of a layer prints its cell to C++ and compiles it for the instructions that the core uses here;
what comes out is kept for other processes, see `holdfast.compiling.folder`. The code around the printed
equations is that of the built-in cells, and the flags are theirs, hence the same bits.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from holdfast._version import __version__
from holdfast.cells import Cell, own_cell
from holdfast.cells.core import PrintedCell, Variants, built_in_variants, variant_for
from holdfast.compiling.compiler import system_compiler
from holdfast.compiling.folder import digest, keep, kept_in, libraries, workplace

_SOURCE, _HEADER, _LIBRARY = "user_cell.cc", "cell.h", "cell.so"
_FLAGS = ("-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti")
# What may change whether a cell can be compiled; after a change it is tried again.
_SETTINGS = ("CXX", "PATH", "HOLDFAST_CACHE", "HOLDFAST_COMPILE")

_loaded: dict[str, Variants] = {}
# Why not, under which settings, and until when that holds.
_refused: dict[str, tuple[str, tuple[str | None, ...], float]] = {}
# A full disk or a busy machine may pass. A compiler that fails is tried again, but takes little of the time.
_LEAST_WAIT, _WAITS = 600.0, 20  # seconds, and times what the failure took
# Two threads would do the same work twice, no more.
_lock = threading.Lock()


def _renew_lock() -> None:
    """In a forked child, where the thread that held it is not there."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def printed_for(cell: Cell, core: Any) -> PrintedCell | str:
    """What of the core runs a call's cell, with all that the call adds; compiled now if it has to be.

    Args:
        cell: built in or not.
        core: the module `holdfast._core`.

    Returns:
        The printed cell, whose `index` is its place in this process's core; else why there is none.
    """
    variants = built_in_variants(cell) or loaded_variants(core, cell.spec.partition("|")[0])
    return variants if isinstance(variants, str) else variant_for(cell, variants)


def loaded_variants(core: Any, base: str) -> Variants | str:
    """The variants of a cell that is not built in, with their places in this process's core; or a reason.

    Args:
        core: the module `holdfast._core`.
        base: the spec of the cell without its modifiers.
    """
    found = _loaded.get(base)
    if found is not None:
        return found
    with _lock:
        if base in _loaded:
            return _loaded[base]
        settings = tuple(map(os.environ.get, _SETTINGS))
        reason, under, until = _refused.get(base, ("", (), 0.0))
        began = monotonic()
        if under == settings and began < until:
            return reason
        try:
            variants = _compiled(core, base)
        except _FailedError as error:
            now = monotonic()
            wait = max(_LEAST_WAIT, _WAITS * (now - began))
            _refused[base] = str(error), settings, now + wait
            message = f"{error}; slower backends run it, and it is tried again in {wait / 60:.0f} minutes"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return str(error)
        if isinstance(variants, str):
            _refused[base] = variants, settings, math.inf
        else:
            _loaded[base] = variants
        return variants


class _FailedError(Exception):
    """A compiler is there, and yet there is no library that loads."""


def _compiled(core: Any, base: str) -> Variants | str:
    try:
        cell = Cell.of(base)
        variants = own_cell.own_variants(cell)
    except (RecursionError, ValueError) as error:  # of cells that were never checked by holdfast.cell
        return f"the cell {base.partition('#')[0]!r} cannot be printed: {error}"
    if isinstance(variants, str):
        return variants
    refused = f"the cell {cell.name!r} is not compiled"
    if os.environ.get("HOLDFAST_COMPILE") == "0":
        return f"{refused}, because HOLDFAST_COMPILE is 0"
    try:
        places = _places(core, own_cell.own_header(variants))
    except (ImportError, OSError, ValueError) as error:
        raise _FailedError(f"{refused}: {error}") from error
    if isinstance(places, str):
        return f"{refused}: {places}"
    # The library has those that are fused first.
    order = sorted(range(len(variants)), key=lambda k: variants[k].staged)
    own = dict(zip(order, places, strict=True))
    plain, full, projected = (replace(printed, index=own[k]) for k, printed in enumerate(variants))
    return plain, full, projected


def _places(core: Any, header: str) -> tuple[int, ...] | str:
    """The places in the core of the cells of a header, in the order of the library; or why there are none.

    Raises:
        ImportError, OSError, ValueError: the compiler fails, or what it gave does not load.
    """
    sources = _sources(core)
    if sources is None:
        return "the sources that the core was built from are missing or were changed; install holdfast again"
    flags = [*_FLAGS, *core.compile_flags]
    name = digest(__version__, core.cell_digest, *flags, header)
    folder, compiler = kept_in(), system_compiler()
    # Without a compiler the library of any will do: all give the same bits.
    names = (name,) if isinstance(compiler, str) else (name, digest(compiler.identity))
    for library in libraries(folder, *names):
        with suppress(ImportError, ValueError):
            return tuple(core.load_cells(str(library)))
    if isinstance(compiler, str):
        return compiler
    with workplace(folder) as here:
        (here / _HEADER).write_text(header, encoding="utf-8")
        defined = ["-DHOLDFAST_LEVEL=own", f'-DHOLDFAST_BUILT_FROM="{core.cell_digest}"']
        given = [f"-I{sources}", "-include", _HEADER, str(sources / _SOURCE), "-o", _LIBRARY]
        compiler.compile([*flags, *defined, *given], here)
        return tuple(core.load_cells(str(keep(here / _LIBRARY, folder, *names))))


def _sources(core: Any) -> Path | None:
    """Where that lies which cells are compiled from: beside the core, or in a checkout."""
    own = Path(core.__file__).resolve().parent
    for place in (own / "csrc", own.parents[1] / "csrc"):
        files = [place / name for name in core.cell_sources]
        if files and all(file.is_file() for file in files) and _digest_of(files) == core.cell_digest:
            return place
    return None


def _digest_of(files: list[Path]) -> str:
    """As CMakeLists.txt computes it."""
    each = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256("".join(each).encode()).hexdigest()
