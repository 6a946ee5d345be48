"""What holds for every test: fixed seeds, one thread, and NaN as uninitialised memory in contract tests."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The tensors of the tests are small: a second thread only waits, and on a busy machine both wait for long. It
# holds for the processes that tests start as well; tests of threads set their own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What cells of the tests' own are compiled to is kept from run to run.
os.environ.setdefault("HOLDFAST_CACHE", str(Path(__file__).parents[1] / "build" / "cache"))

import hypothesis
import numpy as np
import pytest

# A busy machine breaks no deadline; CI tries the same examples each time, elsewhere they are new in each run.
hypothesis.settings.register_profile("everywhere", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("everywhere")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- scikit-learn draws from the global generator
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.manual_seed(0)  # torch.manual_seed asks every device: 1 ms


@pytest.fixture(autouse=True)
def _uninitialised_memory_is_nan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that reads what it never wrote gives NaN instead of, mostly, the right answer."""
    if "contract" not in request.path.parts:
        return
    import torch

    def poisoned(allocate: Callable[..., Any]) -> Callable[..., Any]:
        def allocate_nan(*args: Any, **kwargs: Any) -> Any:
            tensor = allocate(*args, **kwargs)
            if tensor.is_floating_point() and not isinstance(tensor, torch._subclasses.FakeTensor):
                with torch.no_grad():
                    tensor.fill_(float("nan"))
            return tensor

        return allocate_nan

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
