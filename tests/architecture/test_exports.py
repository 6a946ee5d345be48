"""The public names: each one resolves, none hides a subpackage, and importing holdfast is light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

SOURCE = Path(holdfast.__file__).parent
HEAVY = ("torch", "numpy", "sklearn", "polars", "rich", "typer", "tokenizers", "holdfast._core")
IMPORT_LIMIT_MS = 100


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", holdfast.__all__)
def test_each_public_name_resolves(name: str) -> None:
    assert getattr(holdfast, name) is not None
    assert name in dir(holdfast)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    homes = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == holdfast._HOMES
    assert sorted([*homes, "__version__"]) == sorted(holdfast.__all__)


def test_no_public_name_is_a_subpackage() -> None:
    modules = {path.stem for path in SOURCE.glob("*.py")} | {
        path.name for path in SOURCE.iterdir() if path.is_dir()
    }
    assert not modules & set(holdfast.__all__)


def test_importing_subpackages_hides_no_public_name() -> None:
    before = {name: getattr(holdfast, name) for name in holdfast.__all__}
    for path in sorted(SOURCE.glob("*/__init__.py")):
        importlib.import_module(f"holdfast.{path.parent.name}")
    assert {name: getattr(holdfast, name) for name in holdfast.__all__} == before


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'holdfast' has no attribute 'lstm'"):
        holdfast.lstm  # noqa: B018


def test_importing_holdfast_imports_nothing_heavy() -> None:
    loaded = run_python("import sys, holdfast; print(*sorted(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)


def test_importing_holdfast_is_quick() -> None:
    code = """
import time
start = time.perf_counter()
import holdfast
print((time.perf_counter() - start) * 1e3)
"""
    assert min(float(run_python(code)) for _ in range(5)) < IMPORT_LIMIT_MS


def test_holdfast_works_without_the_compiled_core() -> None:
    code = """
import sys
sys.modules["holdfast._core"] = None
import torch, holdfast
output, (h, c) = holdfast.LSTM(3, 4)(torch.zeros(5, 2, 3))
print(tuple(output.shape), tuple(h.shape), tuple(c.shape))
"""
    assert run_python(code) == "(5, 2, 4) (1, 2, 4) (1, 2, 4)"
