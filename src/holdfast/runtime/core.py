"""The compiled core, which the runtime cannot do without."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

from holdfast.cells.core import reason_against_core
from holdfast.errors import BackendError


@cache
def compiled_core() -> ModuleType:
    """The module `holdfast._core`.

    Raises:
        BackendError: it is not built, does not load, or was built from other cells.
    """
    try:
        core = importlib.import_module("holdfast._core")
    except ModuleNotFoundError:
        raise BackendError(
            "prepared inference runs in the compiled core, which is not built here: "
            "`holdfast doctor` says how to build it"
        ) from None
    except ImportError as error:
        raise BackendError(
            f"prepared inference runs in the compiled core, which does not load: {error}"
        ) from error
    reason = reason_against_core(core)
    if reason is not None:
        raise BackendError(reason)
    return core


def release_memory() -> int:
    """Give back to the system what the compiled core keeps for its next call.

    It keeps the memory of the largest call so far, of training above all, since a training step that finds
    its memory mapped is quicker. After this the next call maps it anew.

    Returns:
        How many bytes that were; 0 where the core is not in use.
    """
    core = sys.modules.get("holdfast._core")
    if core is None:
        return 0
    _, kept = core.memory()
    core.trim()
    return int(kept)
