"""Where compiled cells are kept from process to process.

The name of a library ends with the digest of what is in it: one that is broken is never loaded, and a process
that writes a library need wait for no other one. What lies here is run, so nobody else may write here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ENDING = ".so"
_DIGITS = 32  # of a digest in a name
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LENIENT: Any = {"ignore_cleanup_errors": True}
_told: set[str] = set()


def digest(*parts: str | bytes) -> str:
    """What tells these parts from any others, in letters that a name may have."""
    found = hashlib.sha256()
    for part in parts:
        own = part.encode() if isinstance(part, str) else part
        found.update(len(own).to_bytes(8, "little") + own)
    return found.hexdigest()[:_DIGITS]


def kept_in() -> Path:
    """The folder: `cells` in HOLDFAST_CACHE, or else in `holdfast` in XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("HOLDFAST_CACHE")
    return (Path(own).absolute() if own else _usual()) / "cells"


def _usual() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if cache.is_absolute():
        return cache / "holdfast"
    try:
        return Path.home() / ".cache" / "holdfast"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir(), f"holdfast-{os.geteuid()}")


def libraries(folder: Path, *names: str) -> Iterator[Path]:
    """The sound libraries there whose names begin with these parts."""
    try:
        if _reason_against(folder) is None:
            for path in sorted(folder.glob(f"{'-'.join(names)}-*{_ENDING}")):
                if path.stem.rpartition("-")[2] == digest(path.read_bytes()):
                    yield path
    except OSError:
        return


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A folder of one's own to compile in, which is removed afterwards; in `folder` if that can be."""
    with _made_in(folder) or tempfile.TemporaryDirectory(prefix="holdfast-", **_LENIENT) as place:
        yield Path(place)


def keep(library: Path, folder: Path, *names: str) -> Path:
    """Move a library from a `workplace` of the folder to where `libraries` finds it.

    Others may do the same at any time.

    Returns:
        Where it lies then, which is where it was if that workplace is elsewhere.
    """
    if library.parent.parent != folder:
        return library
    return library.replace(folder / f"{'-'.join([*names, digest(library.read_bytes())])}{_ENDING}")


def _made_in(folder: Path) -> tempfile.TemporaryDirectory[str] | None:
    """A new folder there, or None and a warning."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        reason = _reason_against(folder)
        if reason is None:
            return tempfile.TemporaryDirectory(prefix=".", dir=folder, **_LENIENT)
    except OSError as error:
        reason = f"{folder} cannot be written: {error.strerror}"
    message = f"{reason}; so each process compiles its cells anew. HOLDFAST_CACHE names another folder"
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return None


def _reason_against(folder: Path) -> str | None:
    """Why nothing in it may be run; None where nobody but this user and the system's can change it."""
    for part in (folder.parent, folder):
        found = part.stat()
        # As in /tmp, where nobody can move what is not their own.
        guarded = part != folder and found.st_mode & stat.S_ISVTX
        if found.st_mode & _OTHERS_WRITE and not guarded:
            return f"{part} can be written by others: chmod go-w would mend that"
        if found.st_uid not in (0, os.geteuid()):
            return f"{part} belongs to another user"
    return None
