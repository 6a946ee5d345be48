"""Opening files of a directory that somebody else may have prepared: regular files of a known size only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import ModelFileError
from holdfast.model_file.strict_json import decode, shown


def check_directory(directory: Path) -> None:
    """Refuse a model's path that is missing or no directory."""
    try:
        mode = directory.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR)
        what = "does not exist" if missing else f"cannot be opened ({reason(error)})"
        raise ModelFileError(
            f"the model {_named(directory)} {what}; give the directory of a saved model"
        ) from None
    if not stat.S_ISDIR(mode):
        raise ModelFileError(
            f"{directory} is a file, and a holdfast model is a directory; give the directory's path"
        )


def open_inside(directory: Path, name: str) -> BinaryIO:
    """Open a regular file directly inside `directory`; a link, a pipe or a device is refused unopened."""
    source = f"{directory}/{name}"
    try:
        mode = (directory / name).lstat().st_mode
        if stat.S_ISLNK(mode):
            raise ModelFileError(
                f"{source} is a symbolic link, and a model's files must lie in its own directory: "
                "put a copy of the file there"
            )
        if not stat.S_ISREG(mode):
            raise ModelFileError(f"{source} is not a regular file: the model is damaged; take a fresh copy")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(directory / name, flags), "rb")
    except FileNotFoundError:
        raise ModelFileError(f"{source} is missing: the model is incomplete; take a fresh copy") from None
    except OSError as error:
        raise ModelFileError(f"{source} cannot be opened: {reason(error)}") from None


def read_text(directory: Path, name: str, limit_bytes: int) -> str:
    """The UTF-8 text of a file in `directory`, at most `limit_bytes` of it."""
    source = f"{directory}/{name}"
    with open_inside(directory, name) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        check_size(size_bytes, limit_bytes, source)
        data = file.read(size_bytes)
    return decode(data, source)


def check_size(size_bytes: int, limit_bytes: int, source: str) -> None:
    """Refuse a file that is larger than its limit."""
    if size_bytes > limit_bytes:
        raise ModelFileError(
            f"{source} has {size_bytes:,} bytes and at most {limit_bytes:,} are allowed: "
            "it is damaged or no part of a holdfast model"
        )


def resolved(path: Path) -> Path:
    """`path` without symbolic links and dots."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{_named(path)} is no usable path: {reason(error)}") from None


def _named(path: Path) -> str:
    return str(path) if str(path).isprintable() else shown(str(path))


def reason(error: Exception) -> str:
    """What the operating system said, without numbers and file names."""
    return getattr(error, "strerror", None) or str(error)
