"""A directory that appears under its name only when it is complete and on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Give a hidden directory beside `target` to write to; on success it takes `target`'s place.

    What stood at `target` is renamed away first and deleted last; if the second renaming fails it is
    put back. On any error, an interruption included, the hidden directory is deleted.

    Args:
        target: the directory to make or replace, without symbolic links; missing parents are made.

    Raises:
        OSError: the operating system refused.
    """
    mark = os.urandom(4).hex()
    temporary = target.parent / f".{target.name}.{mark}.part"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.iterdir()):
            _synchronise(path)
        _synchronise(temporary)
        _take_place(temporary, target, target.parent / f".{target.name}.{mark}.old")
        _synchronise(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _synchronise(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory to synchronise it
    # Windows synchronises only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
