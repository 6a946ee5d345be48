"""The C++ tests of the core: built by cmake under build/core_tests, once for each way of building them."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / "build" / "core_tests"
PROCESSOR = {"amd64": "x86_64", "arm64": "aarch64"}.get(
    platform.machine().lower(), platform.machine().lower()
)
AARCH64 = "aarch64-linux-gnu-g++"


@dataclass(frozen=True)
class Build:
    """One way of building and running the programs."""

    name: str
    levels: tuple[str, ...] = ()  # none: all
    optimise: str = "-O1"
    sanitize: str = ""
    compiler: str = ""
    launcher: tuple[str, ...] = ()
    processor: str = ""  # for which it is built, if not for any
    activations: tuple[int, int] = (20011, 200_000)
    seconds: int = 900  # a program may take
    slow_cases: bool = False

    def reason_to_skip(self) -> str:
        """What this machine lacks for it, or nothing."""
        compiler = self.compiler or os.environ.get("CXX", "c++")
        for program in ("cmake", "ctest", compiler.split()[0], *self.launcher[:1]):
            if shutil.which(program) is None:
                return f"{program} is not installed"
        if self.processor not in ("", PROCESSOR):
            return f"needs a processor of {self.processor}, this one is of {PROCESSOR}"
        if self.sanitize and not links(compiler, f"-fsanitize={self.sanitize}"):
            return f"{compiler} has no library for -fsanitize={self.sanitize}"
        return ""

    def definitions(self) -> dict[str, str]:
        """What cmake is to know."""
        known = {
            "CMAKE_BUILD_TYPE": "None",
            "CMAKE_CXX_FLAGS": f"{self.optimise} -g1",
            "HOLDFAST_ACTIVATION_TESTS": ";".join(map(str, self.activations)),
            "HOLDFAST_LEVELS": ";".join(self.levels),
            "HOLDFAST_MODULE": "OFF",
            "HOLDFAST_OPTIMIZE": self.optimise,
            "HOLDFAST_POISON": "ON",
            "HOLDFAST_SANITIZE": self.sanitize,
            "HOLDFAST_TEST_LAUNCHER": ";".join(self.launcher),
            "HOLDFAST_TEST_SECONDS": str(self.seconds),
            "HOLDFAST_TESTS": "ON",
            "HOLDFAST_WERROR": os.environ.get("HOLDFAST_WERROR", "OFF"),
        }
        if self.compiler:
            known["CMAKE_CXX_COMPILER"] = self.compiler
        if self.compiler == AARCH64:
            known |= {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": "aarch64"}
        return known


# One level, to build it quickly: any x86-64 runs v2, which the tests from Python do not use on most of them.
PLAIN = Build("plain", levels=("v2", "neon"), activations=(100_003, 100_000), seconds=120)
SLOW = [
    Build("address", levels=("v2", "v3", "v4", "neon"), sanitize="address,undefined", slow_cases=True),
    Build("threads", levels=("v3", "neon"), sanitize="thread"),
    Build("clang", optimise="-O2", compiler="clang++", activations=(1009, 1_000_000), slow_cases=True),
    Build("generic", levels=("generic",), optimise="-O2"),
    Build("v2", ("v2",), "-O2", launcher=("qemu-x86_64", "-cpu", "Nehalem"), processor="x86_64"),
    Build("v3", ("v2", "v3"), "-O2", launcher=("qemu-x86_64", "-cpu", "Haswell"), processor="x86_64"),
    Build("neon", (), "-O2", "", AARCH64, ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")),
]


def links(compiler: str, flag: str) -> bool:
    command = [*compiler.split(), flag, "-x", "c++", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input="int main() {}", text=True, capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the folder against other runs of the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout[-20_000:]}", pytrace=False)


def build_and_run(build: Build) -> None:
    reason = build.reason_to_skip()
    if reason:
        pytest.skip(reason)
    folder = BUILDS / build.name
    with held(folder):
        ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
        defined = [f"-D{name}={value}" for name, value in build.definitions().items()]
        run("cmake", "-S", ROOT, "-B", folder, *ninja, *defined)
        run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1))
        slow = {"HOLDFAST_SLOW": "1"} if build.slow_cases else {}
        run("ctest", "--test-dir", folder, "--output-on-failure", "--no-tests=error", environment=slow)


def test_the_programs_pass() -> None:
    build_and_run(PLAIN)


@pytest.mark.slow
@pytest.mark.parametrize("build", SLOW, ids=lambda build: build.name)
def test_the_programs_pass_in_other_builds(build: Build) -> None:
    build_and_run(build)
