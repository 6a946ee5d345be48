"""Where compiled cells are kept from process to process.

The name of a library ends with the digest of what is in it: one that is broken is never loaded, and a process
that writes a library need wait for no other one. What lies here is run, so nobody else may write here or
move the folder, and what another user has left here before is passed over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ENDING = ".so"
_DIGITS = 32  # of a digest in a name
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
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
        place = _real(folder)
        if _reason_against(place) is None:
            for path in sorted(place.glob(f"{'-'.join(names)}-*{_ENDING}")):
                if _our_own(path) and path.stem.rpartition("-")[2] == digest(path.read_bytes()):
                    yield path
    except OSError:
        return


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A folder of one's own to compile in, which is removed afterwards; in `folder` if that can be."""
    # No TemporaryDirectory, which a child that was forked meanwhile would remove as it ends.
    place = _made_in(folder) or tempfile.mkdtemp(prefix="holdfast-")
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def keep(library: Path, folder: Path, *names: str) -> Path:
    """Move a library from a `workplace` of the folder to where `libraries` finds it.

    Others may do the same at any time.

    Returns:
        Where it lies then, which is where it was if that workplace is elsewhere.
    """
    place = library.parent.parent
    if place != _real(folder):
        return library
    library.chmod(stat.S_IMODE(library.stat().st_mode) & ~_OTHERS_WRITE)  # whatever the umask
    return library.replace(place / f"{'-'.join([*names, digest(library.read_bytes())])}{_ENDING}")


def _real(folder: Path) -> Path:
    """Where it lies when all links are followed, so that who can move a link moves nothing that is in use."""
    return Path(os.path.realpath(folder))


def _made_in(folder: Path) -> str | None:
    """A new folder there, or None and a warning."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        place = _real(folder)
        reason = _reason_against(place)
        if reason is None:
            return tempfile.mkdtemp(prefix=".", dir=place)
    except OSError as error:
        reason = f"{folder} cannot be written: {error.strerror}"
    message = f"{reason}; so each process compiles its cells anew. HOLDFAST_CACHE names another folder"
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return None


def _reason_against(folder: Path) -> str | None:
    """Why nothing in it may be run; None where only this user and the system's can change or move it."""
    for part in (*reversed(folder.parents), folder):
        found = part.lstat()
        # As in /tmp, where nobody can move what is not their own.
        guarded = part != folder and found.st_mode & stat.S_ISVTX
        if found.st_mode & _OTHERS_WRITE and not guarded:
            return f"{part} can be written by others: chmod go-w would mend that"
        if not _trusted(found):
            return f"{part} belongs to another user"
    return None


def _our_own(library: Path) -> bool:
    """Whether nobody else can have written it, be it while the folder was open to others."""
    found = library.lstat()
    return stat.S_ISREG(found.st_mode) and _trusted(found) and not found.st_mode & _OTHERS_WRITE


def _trusted(found: os.stat_result) -> bool:
    return found.st_uid in (0, os.geteuid())
