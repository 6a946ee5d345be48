"""The system's C++ compiler: which one that is, and what it says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_USUAL = ("c++", "g++", "clang++")
_MOST_SECONDS = 600
_MOST_LINES, _MOST_LETTERS = 3, 400


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: how it is called; with what goes before, as in `ccache g++`.
    """

    command: tuple[str, ...]

    @property
    def identity(self) -> str:
        """What tells it from others and from its other versions, found without running it."""
        files = [Path(found).resolve() for found in map(shutil.which, self.command) if found]
        marks = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return repr((self.command, marks))

    def compile(self, arguments: Sequence[str], folder: Path) -> None:
        """Run it in a folder.

        Raises:
            OSError: it does not run, or finds something wrong; the message has its first words.
        """
        try:
            done = subprocess.run(
                [*self.command, *arguments],
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_MOST_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OSError(f"{self} does not run: {error}") from error
        if done.returncode:
            raise OSError(f"{self} fails: {_first_words(done.stdout)}")

    def __str__(self) -> str:
        return shlex.join(self.command)


def system_compiler() -> Compiler | str:
    """What CXX in the environment names, else the first of c++, g++ and clang++; or why there is none."""
    wished = os.environ.get("CXX", "").strip()
    if not wished:
        found = next(filter(shutil.which, _USUAL), None)
        if found:
            return Compiler((found,))
        return f"there is no C++ compiler: PATH has none of {', '.join(_USUAL)}, and CXX names none"
    try:
        command = tuple(shlex.split(wished))
    except ValueError as error:
        return f"CXX in the environment is {wished!r}: {error}"
    if shutil.which(command[0]) is None:
        return f"there is no C++ compiler: CXX in the environment is {wished!r}, and that is no program"
    return Compiler(command)


def _first_words(output: str) -> str:
    """The first error of what a compiler wrote, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    first = next((place for place, line in enumerate(lines) if "error" in line), 0)
    return " / ".join(lines[first : first + _MOST_LINES])[:_MOST_LETTERS] or "it says nothing"
