"""A user's file, and the register of cells left as it was."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cell_files import HEAD

from holdfast.cells import CELLS


@pytest.fixture(autouse=True)
def _cells_are_left_as_they_were() -> Iterator[None]:
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)
    sys.modules.pop("my_cells", None)


@pytest.fixture
def my_cells(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Writes a user's file and imports it."""

    def load(body: str) -> ModuleType:
        path = tmp_path / "my_cells.py"
        path.write_text(HEAD + body.lstrip("\n"), encoding="utf-8")
        specification = importlib.util.spec_from_file_location("my_cells", path)
        assert specification is not None
        assert specification.loader is not None
        module = sys.modules["my_cells"] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load
