"""holdfast: LSTM networks, complete, fast, visible and easy to ship.

The names below are bound on first use, so `import holdfast` is quick and needs neither torch nor
the compiled core.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast._version import __version__

if TYPE_CHECKING:
    from holdfast.cells.define import cell as cell
    from holdfast.errors import BackendError as BackendError
    from holdfast.errors import ConfigError as ConfigError
    from holdfast.errors import DataError as DataError
    from holdfast.errors import HoldfastError as HoldfastError
    from holdfast.errors import InputError as InputError
    from holdfast.errors import MissingExtraError as MissingExtraError
    from holdfast.errors import ModelFileError as ModelFileError
    from holdfast.errors import TrainingError as TrainingError
    from holdfast.errors import TrainingInterrupted as TrainingInterrupted
    from holdfast.kernels import explain as explain
    from holdfast.nn.lstm import LSTM as LSTM
    from holdfast.nn.lstm_cell import LSTMCell as LSTMCell
    from holdfast.notation import State as State
    from holdfast.runtime import prepare as prepare
    from holdfast.runtime import release_memory as release_memory
    from holdfast.tasks import load as load
    from holdfast.tasks import train as train
    from holdfast.tasks.estimator import TextClassifier as TextClassifier
    from holdfast.tasks.inspecting import inspect as inspect

_HOMES = {
    "LSTM": "holdfast.nn.lstm",
    "LSTMCell": "holdfast.nn.lstm_cell",
    "State": "holdfast.notation",
    "TextClassifier": "holdfast.tasks.estimator",
    "cell": "holdfast.cells.define",
    "explain": "holdfast.kernels",
    "inspect": "holdfast.tasks.inspecting",
    "load": "holdfast.tasks",
    "prepare": "holdfast.runtime",
    "release_memory": "holdfast.runtime",
    "train": "holdfast.tasks",
    "BackendError": "holdfast.errors",
    "ConfigError": "holdfast.errors",
    "DataError": "holdfast.errors",
    "HoldfastError": "holdfast.errors",
    "InputError": "holdfast.errors",
    "MissingExtraError": "holdfast.errors",
    "ModelFileError": "holdfast.errors",
    "TrainingError": "holdfast.errors",
    "TrainingInterrupted": "holdfast.errors",
}

__all__ = [
    "LSTM",
    "BackendError",
    "ConfigError",
    "DataError",
    "HoldfastError",
    "InputError",
    "LSTMCell",
    "MissingExtraError",
    "ModelFileError",
    "State",
    "TextClassifier",
    "TrainingError",
    "TrainingInterrupted",
    "__version__",
    "cell",
    "explain",
    "inspect",
    "load",
    "prepare",
    "release_memory",
    "train",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
