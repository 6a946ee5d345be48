"""The compiled core: what it says of itself, and the level of instruction sets that dispatch picks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

ROOT = Path(__file__).parents[2]

built = importlib.util.find_spec("holdfast._core") is not None
needs_core = pytest.mark.skipif(not built, reason="the compiled core is not built")
LEVELS: tuple[str, ...] = ()
if built:
    from holdfast import _core

    LEVELS = _core.levels


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_an_install_with_a_compiler_has_the_core() -> None:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    try:
        importlib.metadata.distribution("holdfast")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("holdfast is not installed: nothing was to be built")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    assert built, f"{compiler} is here, but the install left the core out: read the log of pip install -v"


@needs_core
def test_the_core_is_of_this_version_and_says_what_it_uses() -> None:
    assert _core.version == holdfast.__version__
    assert set(_core.levels) <= set(_core.built_levels)
    assert _core.level in _core.levels
    if not os.environ.get("HOLDFAST_ISA"):
        assert _core.level == _core.levels[-1]


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_forces_a_level(level: str) -> None:
    result = run_python("import holdfast._core as core; print(core.level)", HOLDFAST_ISA=level)
    assert result.stdout.strip() == level, result.stderr


@needs_core
def test_an_empty_variable_forces_nothing() -> None:
    result = run_python("import holdfast._core as core; print(core.level)", HOLDFAST_ISA="")
    assert result.stdout.strip() == LEVELS[-1], result.stderr


@needs_core
def test_an_unknown_level_is_refused_by_name() -> None:
    result = run_python("import holdfast._core", HOLDFAST_ISA="x86-64-v9")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        'ImportError: HOLDFAST_ISA is "x86-64-v9", which is no level of this build; it can be one of: '
        + ", ".join(LEVELS)
    )


def test_the_objects_of_a_level_define_nothing_outside_its_namespace() -> None:
    """An inline function of another namespace would be shared between levels by the linker, and crash."""
    objects = sorted(ROOT.glob("build/*/CMakeFiles/level_*.dir/csrc/*.cc.o"))
    if not objects or shutil.which("nm") is None:
        pytest.skip("needs nm and the objects of a build from this checkout")
    for path in objects:
        level = path.parents[1].name.removeprefix("level_").removesuffix(".dir")
        command = ["nm", "--defined-only", "--extern-only", path]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)
        names = [line.split()[-1] for line in listing.stdout.splitlines()]
        assert names
        own = re.compile(rf"_ZNK?8holdfast{len(level)}{level}")
        strangers = [name for name in names if not own.match(name)]
        assert not strangers, f"{path} defines {strangers}"
