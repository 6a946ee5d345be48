"""The compiled core, which the runtime cannot do without."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from holdfast.cells.core import PRINTED
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
    if core.cells != tuple(printed.name for printed in PRINTED):
        raise BackendError("the compiled core was built from other cells: install holdfast again")
    return core
