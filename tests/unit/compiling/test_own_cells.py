"""When a cell is compiled, when it is not, and what is said where it cannot be."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.cells import Cell, Expression, get, modifiers, named, sigmoid, tanh
from holdfast.cells.core import PRINTED
from holdfast.compiling import folder as folder_module
from holdfast.compiling import own_cells, printed_for
from holdfast.compiling.own_cells import loaded_variants

ROOT = Path(__file__).parents[3]
core: Any = importlib.import_module("holdfast._core") if importlib.util.find_spec("holdfast._core") else None
COMPILER = shutil.which(os.environ.get("CXX", "c++"))

pytestmark = [
    pytest.mark.skipif(not hasattr(core, "load_cells"), reason="the compiled core takes no cells"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler"),
]


def plain(a: Expression) -> dict[str, Expression]:
    """The least that a cell can be, which is quickest to compile."""
    return named(h=tanh(a))


def other(a: Expression) -> dict[str, Expression]:
    return named(h=sigmoid(a))


CELL = Cell("compiled_for_tests", plain, ("a",), ("h",))


class Stand:
    """A compiler that gives what another one has compiled before, and counts how often it runs."""

    def __init__(self, place: Path, library: Path) -> None:
        self.path, self.log, self.library = place / "compiler", place / "log", library
        self.becomes(f'cp "{library}" cell.so')

    def becomes(self, line: str) -> None:
        before = self.path.stat() if self.path.exists() else None
        self.path.write_text(f'#!/bin/sh\necho run >> "{self.log}"\n{line.ljust(500)}\n')
        self.path.chmod(0o755)
        if before:  # the same one to holdfast
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cell, compiled in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("library")
        patch.setenv("HOLDFAST_CACHE", str(place))
        patch.setattr(own_cells, "_loaded", {})
        assert not isinstance(loaded_variants(core, CELL.spec), str)
    (made,) = (place / "cells").iterdir()
    return made


@pytest.fixture
def compiler(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    stand = Stand(tmp_path, library)
    monkeypatch.setenv("CXX", str(stand.path))
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HOLDFAST_COMPILE", raising=False)
    monkeypatch.setattr(folder_module, "_told", set())
    return stand


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets what this process has loaded."""

    def forget() -> None:
        monkeypatch.setattr(own_cells, "_loaded", {})
        monkeypatch.setattr(own_cells, "_refused", {})

    forget()
    return forget


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "cells").iterdir())


def load(cell: Cell = CELL) -> Any:
    return loaded_variants(core, cell.spec)


class TestWhenItIsCompiled:
    def test_once_in_a_process(self, compiler: Stand) -> None:
        variants = load()
        assert compiler.runs == 1
        assert load() is variants
        assert compiler.runs == 1

    def test_once_for_all_processes(self, compiler: Stand, new_process: Callable[[], None]) -> None:
        first = load()
        new_process()
        again = load()
        assert compiler.runs == 1
        assert {printed.index for printed in first}.isdisjoint(printed.index for printed in again)

    def test_once_for_cells_that_differ_in_their_names_alone(
        self, compiler: Stand, new_process: Callable[[], None]
    ) -> None:
        load()
        load(replace(CELL, name="called_otherwise"))
        assert compiler.runs == 1

    def test_again_for_other_equations(self, compiler: Stand) -> None:
        load()
        load(replace(CELL, function=other))
        assert compiler.runs == 2

    def test_again_for_another_compiler_version_core_or_level(
        self, compiler: Stand, new_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def after(change: Callable[[], None]) -> int:
            change()
            new_process()
            load()
            return compiler.runs

        assert after(lambda: None) == 1
        assert after(lambda: os.utime(compiler.path, (0, 0))) == 2
        assert after(lambda: monkeypatch.setenv("CXX", f"{compiler.path} -g")) == 3
        assert after(lambda: monkeypatch.setattr(own_cells, "__version__", "0")) == 4
        assert after(lambda: monkeypatch.setattr(core, "compile_flags", (*core.compile_flags, "-g"))) == 5
        assert after(lambda: None) == 5

    def test_not_where_that_is_turned_off(self, compiler: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOLDFAST_COMPILE", "0")
        assert load() == "the cell 'compiled_for_tests' is not compiled, because HOLDFAST_COMPILE is 0"
        monkeypatch.setenv("HOLDFAST_COMPILE", "1")
        assert not isinstance(load(), str)
        assert compiler.runs == 1

    def test_by_one_of_several_threads(self, compiler: Stand) -> None:
        compiler.becomes(f'sleep 0.3; cp "{compiler.library}" cell.so')
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(load())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert compiler.runs == 1
        assert len({id(variants) for variants in found}) == 1

    def test_in_a_child_that_is_forked_while_a_thread_compiles(self, compiler: Stand) -> None:
        compiler.becomes(f'sleep 0.5; cp "{compiler.library}" cell.so')
        code = f"""
            import os, threading, time
            from tests_of_holdfast import load
            thread = threading.Thread(target=load)
            thread.start()
            while not os.path.exists({str(compiler.log)!r}):
                time.sleep(0.01)
            child = os.fork()
            print(load()[0].index, flush=True)
            if child == 0:
                os._exit(0)
            thread.join()
            assert os.waitpid(child, 0)[1] == 0
        """
        assert len(set(process(code).split())) == 1
        assert compiler.runs == 2

    def test_while_a_child_that_was_forked_meanwhile_ends(self, compiler: Stand) -> None:
        compiler.becomes(f'sleep 0.7; cp "{compiler.library}" cell.so')
        code = f"""
            import os, sys, threading, time
            from tests_of_holdfast import load
            thread = threading.Thread(target=load)
            thread.start()
            while not os.path.exists({str(compiler.log)!r}):
                time.sleep(0.01)
            child = os.fork()
            if child == 0:
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
            assert thread.is_alive()
            thread.join()
            print(int(load()[0].index))
        """
        assert process(code)
        assert compiler.runs == 1

    def test_by_processes_at_once_into_a_folder_that_is_not_there_yet(
        self, compiler: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the compiler itself."""
        monkeypatch.setenv("CXX", COMPILER or "")
        code = "from tests_of_holdfast import load; print([printed.index for printed in load()])"
        assert len({done.strip() for done in processes([code] * 2)}) == 1
        assert all(path.suffix == ".so" for path in kept(tmp_path))
        monkeypatch.setenv("CXX", str(compiler.path))


class TestWhatIsKept:
    def test_a_library_that_was_cut_short(
        self, compiler: Stand, new_process: Callable[[], None], tmp_path: Path
    ) -> None:
        load()
        (path,) = kept(tmp_path)
        whole = path.read_bytes()
        path.unlink()  # it is in use: what is cut in its place would end this process
        path.write_bytes(whole[: len(whole) // 2])
        for _ in range(2):
            new_process()
            assert not isinstance(load(), str)
            assert compiler.runs == 2
        assert kept(tmp_path) == [path]
        assert path.read_bytes() == whole

    def test_what_is_no_library(
        self, compiler: Stand, new_process: Callable[[], None], tmp_path: Path
    ) -> None:
        load()
        (path,) = kept(tmp_path)
        path.unlink()
        beginning = path.stem.rpartition("-")[0]
        (path.parent / f"{beginning}-{folder_module.digest('a text')}.so").write_text("a text")
        new_process()
        assert not isinstance(load(), str)
        assert compiler.runs == 2

    def test_nothing_is_taken_from_a_folder_that_others_can_write(
        self, compiler: Stand, new_process: Callable[[], None], tmp_path: Path
    ) -> None:
        load()
        (tmp_path / "cache" / "cells").chmod(0o777)
        new_process()
        with pytest.warns(RuntimeWarning, match="can be written by others"):
            assert not isinstance(load(), str)
        assert compiler.runs == 2
        assert len(kept(tmp_path)) == 1

    def test_where_nothing_can_be_kept_it_runs_all_the_same(
        self, compiler: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOLDFAST_CACHE", str(compiler.path))
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            assert not isinstance(load(), str)

    def test_without_a_compiler_what_another_one_gave_will_do(
        self, compiler: Stand, new_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load()
        new_process()
        monkeypatch.setenv("CXX", "/none")
        assert not isinstance(load(), str)


class TestWhyItIsNot:
    def test_no_compiler(self, compiler: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", "")
        assert load() == (
            "the cell 'compiled_for_tests' is not compiled: there is no C++ compiler: PATH has none of c++, "
            "g++, clang++, and CXX names none"
        )
        monkeypatch.setenv("CXX", str(compiler.path))
        monkeypatch.setenv("PATH", os.defpath)
        assert not isinstance(load(), str)

    def test_a_compiler_that_fails_is_told_and_asked_once(self, compiler: Stand) -> None:
        compiler.becomes("echo cell.h:3:1: error: z; exit 1")
        reason = f"the cell 'compiled_for_tests' is not compiled: {compiler.path} fails: cell.h:3:1: error: z"
        end = "; slower backends run it, and it is tried again in 10 minutes"
        with pytest.warns(RuntimeWarning, match=f"^{re.escape(reason)}{end}$"):
            assert load() == reason
        assert load() == reason
        assert compiler.runs == 1

    def test_a_failure_that_passes_is_forgotten(
        self, compiler: Stand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiler.becomes("echo No space left on device; exit 1")
        with pytest.warns(RuntimeWarning, match="No space left on device"):
            load()
        compiler.becomes(f'cp "{compiler.library}" cell.so')
        monkeypatch.setattr(own_cells, "monotonic", lambda: time.monotonic() + 500)
        assert "No space left on device" in load()
        assert compiler.runs == 1
        monkeypatch.setattr(own_cells, "monotonic", lambda: time.monotonic() + 601)
        assert not isinstance(load(), str)
        assert compiler.runs == 2

    def test_what_fails_slowly_is_tried_seldom(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]

        def fail(*_: object) -> None:
            now[0] += 600
            raise own_cells._FailedError("timed out")

        monkeypatch.setattr(own_cells, "monotonic", lambda: now[0])
        monkeypatch.setattr(own_cells, "_compiled", fail)
        with pytest.warns(RuntimeWarning, match="tried again in 200 minutes"):
            load()
        now[0] += 199 * 60
        load()
        now[0] += 2 * 60
        with pytest.warns(RuntimeWarning, match="tried again in 200 minutes"):
            load()

    def test_a_compiler_that_says_it_went_well(self, compiler: Stand) -> None:
        compiler.becomes("echo no library > cell.so")
        with pytest.warns(
            RuntimeWarning, match=r"is not compiled: .*cell\.so|is not compiled: .*\.so: file too short"
        ):
            assert "is not compiled" in load()

    def test_a_compiler_that_gives_nothing(self, compiler: Stand) -> None:
        compiler.becomes("true")
        with pytest.warns(RuntimeWarning, match=r"No such file.*cell\.so"):
            assert "is not compiled" in load()

    def test_a_warning_that_is_an_error_is_raised_once(self, compiler: Stand) -> None:
        compiler.becomes("exit 1")
        with pytest.raises(RuntimeWarning):
            load()
        assert "it says nothing" in load()

    def test_sources_of_another_core(self, compiler: Stand) -> None:
        for changed in ({"cell_digest": "of others"}, {"cell_sources": ("none.h",)}, {"cell_sources": ()}):
            known = {name: getattr(core, name) for name in ("cell_digest", "cell_sources", "__file__")}
            assert "install holdfast again" in str(
                loaded_variants(SimpleNamespace(**known | changed), CELL.spec)
            )
            own_cells._refused.clear()
        assert compiler.runs == 0

    def test_more_than_the_core_has_room_for(self, compiler: Stand) -> None:
        def seven(a: Expression, *old: Expression) -> dict[str, Expression]:
            states = {f"s{k}": a + one for k, one in enumerate(old)}
            return named(a=a, **states, h=tanh(sum(old, start=a)))

        arguments = ", ".join(["a", *(f"s{k}" for k in range(6))])
        scope: dict[str, Any] = {"seven": seven}
        exec(f"def wide({arguments}): return seven({arguments})", scope)
        cell = Cell("wide", scope["wide"], ("a",), ("h", *(f"s{k}" for k in range(6))))
        assert load(cell) == "the cell 'wide' has 7 states; the core has room for 6"

    def test_a_cell_of_another_process(self, compiler: Stand) -> None:
        assert "is not defined in this process" in str(loaded_variants(core, "nowhere#0123456789abcdef"))

    def test_a_cell_without_a_derivative(self, compiler: Stand) -> None:
        def unkept(a: Expression) -> dict[str, Expression]:
            return named(h=a * a)

        reason = str(load(Cell("unkept", unkept, ("a",), ("h",))))
        assert reason.startswith("the cell 'unkept' cannot be printed: the derivative reads z_a")


class TestWhatRunsACall:
    def test_the_variant_of_its_modifiers(self, compiler: Stand) -> None:
        printed = printed_for(CELL, core), printed_for(modifiers.zoneout(CELL, 0.1, 0.0), core)
        projected = printed_for(modifiers.project(CELL), core)
        for k, found in enumerate((*printed, projected)):
            assert not isinstance(found, str)
            assert found.index == load()[k].index
        assert compiler.runs == 1

    def test_that_of_a_cell_that_is_built_in(self) -> None:
        assert printed_for(get("lstm"), core) is PRINTED[0]

    def test_the_reason_why_nothing_does(self, compiler: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOLDFAST_COMPILE", "0")
        assert "HOLDFAST_COMPILE" in str(printed_for(modifiers.project(CELL), core))


class TestTheWayIntoTheCore:
    def test_a_name_is_no_path(self) -> None:
        with pytest.raises(ValueError, match="must be a path"):
            core.load_cells("libc.so.6")

    def test_what_is_no_library(self, tmp_path: Path) -> None:
        (tmp_path / "text.so").write_text("a text")
        with pytest.raises(ImportError, match=r"text\.so"):
            core.load_cells(str(tmp_path / "text.so"))
        with pytest.raises(ImportError, match="No such file"):
            core.load_cells(str(tmp_path / "none.so"))

    def test_libraries_of_something_else(self, tmp_path: Path) -> None:
        compile_library(tmp_path, "int other;")
        with pytest.raises(ValueError, match=r"has no cell$"):
            core.load_cells(str(tmp_path / "cell.so"))

    @pytest.mark.parametrize("built_from", ["of others", ""])
    def test_libraries_of_another_build(self, tmp_path: Path, built_from: str) -> None:
        text = """
            struct Library { const char* from; int sizes[7], count; void* cells; };
            extern "C" Library holdfast_cells = {"FROM", {}, 0, nullptr};
        """.replace("FROM", built_from or core.cell_digest)
        compile_library(tmp_path, text)
        with pytest.raises(ValueError, match=r"another build of holdfast$"):
            core.load_cells(str(tmp_path / "cell.so"))

    def test_many_cells(self, library: Path) -> None:
        numbers = [number for _ in range(50) for number in core.load_cells(str(library))]
        assert numbers == list(range(numbers[0], numbers[0] + 150))


def compile_library(place: Path, text: str) -> None:
    (place / "cell.cc").write_text(text)
    command = [COMPILER or "", "-shared", "-fPIC", "-o", "cell.so", "cell.cc"]
    subprocess.run(command, cwd=place, check=True)


def test_the_sources_are_those_that_a_cell_includes(tmp_path: Path) -> None:
    header = own_cells.own_cell.own_header(own_cells.own_cell.own_variants(CELL))  # type: ignore[arg-type]
    (tmp_path / "cell.h").write_text(header)
    given = [f"-I{ROOT / 'csrc'}", "-include", "cell.h", "-DHOLDFAST_LEVEL=own", '-DHOLDFAST_BUILT_FROM=""']
    command = [COMPILER or "", "-std=c++17", *given, "-MM", str(ROOT / "csrc" / "user_cell.cc")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    included = {Path(word).name for word in done.stdout.replace("\\", " ").split()[1:]} - {"cell.h"}
    assert included == set(core.cell_sources)


PRELUDE = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tests_of_holdfast", {__file__!r})
sys.modules["tests_of_holdfast"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""


def processes(codes: list[str]) -> Iterator[str]:
    """What processes print that run at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", PRELUDE + inspect.cleandoc(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for code in codes
    ]
    for done in started:
        printed, problem = done.communicate(timeout=120)
        assert done.returncode == 0, problem
        yield printed


def process(code: str) -> str:
    (printed,) = processes([code])
    return printed
