"""Every exception that holdfast raises on purpose.

HoldfastError
├── InputError (also a ValueError)        what the user gave is wrong; the command line exits with status 2
│   ├── DataError                         a data file, a row, a column, a label
│   ├── ConfigError                       an option or a combination of options
│   └── ModelFileError                    a saved model that is missing, damaged or hostile
├── BackendError (also a RuntimeError)    a backend was asked for by name and cannot run this call
├── TrainingError (also a RuntimeError)   training cannot go on: a loss that is not finite
├── TrainingInterrupted                   training was stopped and left a checkpoint to resume from
└── MissingExtraError (also an ImportError)   a third-party package of an optional extra is not installed

Each message says what was asked, what was got, where, and what to do.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class HoldfastError(Exception):
    """The base of every exception that holdfast raises on purpose."""


class InputError(HoldfastError, ValueError):
    """What the user gave is wrong."""


class DataError(InputError):
    """A data file, a row, a column or a label is wrong."""


class ConfigError(InputError):
    """An option, or a combination of options, is wrong."""


class ModelFileError(InputError):
    """A saved model is missing, damaged, of another version, or hostile."""


class BackendError(HoldfastError, RuntimeError):
    """A backend was asked for by name and cannot run this call."""


class TrainingError(HoldfastError, RuntimeError):
    """Training cannot go on."""


class TrainingInterrupted(HoldfastError):
    """Training was stopped by the user; a checkpoint was left to resume from."""


class MissingExtraError(HoldfastError, ImportError):
    """A package that belongs to an optional extra is not installed."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or say in one line which extra brings it.

    Args:
        module: the dotted name to import, such as `"sklearn.metrics"`.
        extra: the extra of holdfast that installs it, such as `"train"`.
        purpose: what needs it, as the start of a sentence: `"training a text classifier"`.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs the package {package!r}, which "
            f"is not installed: pip install 'holdfast[{extra}]'"
        ) from None
