"""Where the command line writes: results to standard output, progress to standard error."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def command() -> str:
    """How this program is called here: `holdfast`, or its path where it is not on the search path."""
    called = Path(sys.argv[0])
    return "holdfast" if shutil.which("holdfast") or called.name != "holdfast" else str(called)


def results() -> Console:
    """Standard output; what is printed there is the answer. Square brackets in a text stay as they are."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def progress() -> Console:
    """Standard error; what is printed there can be thrown away."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)
