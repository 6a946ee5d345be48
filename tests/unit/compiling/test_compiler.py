"""Which compiler is found, and what is said where there is none or it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.compiling.compiler import Compiler, system_compiler


def program(path: Path, lines: str = "") -> Path:
    """A program of the shell that stands in for a compiler."""
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["c++", "g++", "clang++"])
def test_the_usual_compilers_are_found(empty_path: Path, name: str) -> None:
    program(empty_path / name)
    assert system_compiler() == Compiler((name,))


def test_cxx_comes_first_with_its_words(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(empty_path / "c++")
    program(empty_path / "my compiler")
    monkeypatch.setenv("CXX", "'my compiler' --fast")
    assert system_compiler() == Compiler(("my compiler", "--fast"))


@pytest.mark.parametrize(
    ("cxx", "reason"),
    [
        (None, "there is no C++ compiler: PATH has none of c++, g++, clang++, and CXX names none"),
        ("", "there is no C++ compiler: PATH has none of c++, g++, clang++, and CXX names none"),
        (
            "/none/g++ -O1",
            "there is no C++ compiler: CXX in the environment is '/none/g++ -O1', and that is no program",
        ),
        ("'g++", 'CXX in the environment is "\'g++": No closing quotation'),
    ],
)
def test_the_reason_why_there_is_none(monkeypatch: pytest.MonkeyPatch, cxx: str | None, reason: str) -> None:
    if cxx is not None:
        monkeypatch.setenv("CXX", cxx)
    assert system_compiler() == reason


def test_another_version_is_another_compiler(empty_path: Path) -> None:
    program(empty_path / "g++-12", "12")
    (empty_path / "g++").symlink_to("g++-12")
    before, found = Compiler(("g++",)).identity, [Compiler(("g++", "-m64")).identity]
    program(empty_path / "g++-13", "13.1")
    (empty_path / "g++").unlink()
    (empty_path / "g++").symlink_to("g++-13")
    found.append(Compiler(("g++",)).identity)
    program(empty_path / "g++-13", "13.2.1")
    found.append(Compiler(("g++",)).identity)
    os.utime(empty_path / "g++-13", (0, 0))
    found.append(Compiler(("g++",)).identity)
    assert Compiler(("g++",)).identity == found[-1]
    assert len({before, *found}) == 5


def test_it_runs_in_the_folder_with_plain_messages(empty_path: Path) -> None:
    program(empty_path / "c++", 'echo "$LC_ALL $*" > said')
    place = empty_path / "place"
    place.mkdir()
    Compiler(("c++",)).compile(["-o", "two words"], place)
    assert (place / "said").read_text() == "C -o two words\n"


def test_the_first_words_of_its_error_are_told(empty_path: Path) -> None:
    said = "In file included from x:\\n\\ncell.h:7:3: error: no such thing\\n  7 | z\\n    | ^\\nmore"
    program(empty_path / "c++", f"printf '{said}'; exit 1")
    with pytest.raises(OSError, match=r"^c\+\+ fails: cell.h:7:3: error: no such thing / 7 \| z / \| \^$"):
        Compiler(("c++",)).compile([], empty_path)


def test_a_long_or_an_empty_error_is_told_too(empty_path: Path) -> None:
    program(empty_path / "c++", "exit 3")
    with pytest.raises(OSError, match="it says nothing"):
        Compiler(("c++",)).compile([], empty_path)
    program(empty_path / "c++", f"echo {'x' * 5000}; exit 1")
    with pytest.raises(OSError, match=r"x{400}$"):
        Compiler(("c++",)).compile([], empty_path)


def test_a_compiler_that_does_not_run(empty_path: Path) -> None:
    (empty_path / "c++").write_bytes(b"\x7fELF of another machine")
    (empty_path / "c++").chmod(0o755)
    with pytest.raises(OSError, match=r"c\+\+ does not run"):
        Compiler(("c++",)).compile([], empty_path)
