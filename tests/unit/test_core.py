"""The compiled core: every level computes the same sum, and dispatch picks the one it should."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import holdfast

ROOT = Path(__file__).parents[2]
LENGTHS = [0, 1, 2, 63, 64, 65, 200, 1000, 4096]
UNIT_ROUNDOFF = 2.0**-24

built = importlib.util.find_spec("holdfast._core") is not None
needs_core = pytest.mark.skipif(not built, reason="the compiled core is not built")
LEVELS: tuple[str, ...] = ()
if built:
    from holdfast import _core

    LEVELS = _core.levels


def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(n)
    return generator.standard_normal(n, np.float32), generator.standard_normal(n, np.float32)


def in_stated_order(a: np.ndarray, b: np.ndarray) -> np.float32:
    """What csrc/kernels.h says, for a level without a fused multiply-add."""
    sums = np.zeros(64, np.float32)
    for start in range(0, len(a), 64):
        block = a[start : start + 64] * b[start : start + 64]
        sums[: len(block)] += block
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return sums[0]


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
@pytest.mark.parametrize("n", LENGTHS)
def test_dot_is_within_the_error_of_its_order_of_summation(level: str, n: int) -> None:
    a, b = draw(n)
    exact = math.fsum(a.astype(float) * b.astype(float))
    # One rounding for the product, one for each of ceil(n / 64) additions to a partial sum, six to fold 64.
    roundings = 1 + math.ceil(n / 64) + 6
    bound = 1.01 * roundings * UNIT_ROUNDOFF * math.fsum(abs(a.astype(float) * b.astype(float)))
    assert abs(_core.dot(a, b, level=level) - exact) <= bound


@pytest.mark.parametrize("n", LENGTHS)
@needs_core
def test_levels_give_the_same_bits_unless_they_round_products(n: int) -> None:
    a, b = draw(n)
    rounding = {"generic", "x86-64-v2"}
    assert len({_core.dot(a, b, level=level) for level in LEVELS if level not in rounding}) <= 1
    for level in rounding.intersection(LEVELS):
        assert _core.dot(a, b, level=level) == in_stated_order(a, b)


@pytest.mark.parametrize("level", LEVELS)
def test_dot_gives_the_same_bits_from_many_threads_and_any_alignment(level: str) -> None:
    a, b = draw(4097)
    expected = _core.dot(a[1:].copy(), b[1:].copy(), level=level)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: _core.dot(a[1:], b[1:], level=level), range(200)))
    assert set(results) == {expected}


@pytest.mark.parametrize("level", LEVELS)
def test_dot_lets_infinity_and_nan_through(level: str) -> None:
    ones = np.ones(70, np.float32)
    for value in (math.inf, -math.inf, math.nan):
        a = ones.copy()
        a[69] = value
        np.testing.assert_equal(_core.dot(a, ones, level=level), value)


@needs_core
def test_dot_reads_arrays_that_may_not_be_written() -> None:
    a = np.arange(3, dtype=np.float32)
    a.flags.writeable = False
    assert _core.dot(a, a) == 5.0


@needs_core
def test_dot_refuses_what_it_cannot_read() -> None:
    a = np.ones(4, np.float32)
    with pytest.raises(ValueError, match="a holds 4 numbers and b holds 2"):
        _core.dot(a, a[:2])
    with pytest.raises(TypeError):
        _core.dot(a.astype(np.float64), a)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _core.dot(a[::2], a[:2])
    with pytest.raises(TypeError):
        _core.dot(a.reshape(2, 2), a.reshape(2, 2))
    with pytest.raises(
        ValueError, match='level is "mmx", which is no level of this build; it can be one of: '
    ):
        _core.dot(a, a, level="mmx")


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
    objects = sorted(ROOT.glob("build/*/CMakeFiles/level_*.dir/csrc/level.cc.o"))
    if not objects or shutil.which("nm") is None:
        pytest.skip("needs nm and the objects of a build from this checkout")
    for path in objects:
        level = path.parents[1].name.removeprefix("level_").removesuffix(".dir")
        listing = subprocess.run(
            ["nm", "--defined-only", "-C", path], capture_output=True, text=True, check=True
        )
        names = [line.split(maxsplit=2)[2] for line in listing.stdout.splitlines()]
        assert f"holdfast::{level}::kernels" in names
        strangers = [name for name in names if not name.startswith((f"holdfast::{level}::", ".L"))]
        assert not strangers, f"{path} defines {strangers}"
