"""Where libraries are kept: only whole ones are found, and only where nobody else can write."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from holdfast.compiling import folder as module
from holdfast.compiling.folder import digest, keep, kept_in, libraries, workplace


@pytest.fixture(autouse=True)
def _nothing_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_told", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "cells"


def stored(folder: Path, text: str, *names: str) -> Path:
    with workplace(folder) as here:
        (here / "cell.so").write_text(text)
        return keep(here / "cell.so", folder, *names)


class TestWhichFolder:
    @pytest.fixture(autouse=True)
    def _home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HOLDFAST_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", "/home/ada")

    def test_that_of_the_user(self) -> None:
        assert kept_in() == Path("/home/ada/.cache/holdfast/cells")

    def test_that_of_the_desktop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/ada/cache")
        assert kept_in() == Path("/ada/cache/holdfast/cells")
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the desktop's rules say to ignore
        assert kept_in() == Path("/home/ada/.cache/holdfast/cells")

    def test_that_which_holdfast_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/ada/cache")
        monkeypatch.setenv("HOLDFAST_CACHE", "/own")
        assert kept_in() == Path("/own/cells")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOLDFAST_CACHE", "here")
        assert kept_in() == tmp_path / "here" / "cells"

    def test_that_of_a_user_without_a_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        assert kept_in() == Path(tempfile.gettempdir(), f"holdfast-{os.geteuid()}", "cells")


def test_digests_tell_where_one_part_ends() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4
    assert digest("é") == digest("é".encode())


def test_what_is_kept_is_found_by_the_beginning_of_its_name(folder: Path) -> None:
    first, other = stored(folder, "1", "cell", "gcc"), stored(folder, "2", "cell", "clang")
    assert list(libraries(folder, "cell", "gcc")) == [first]
    assert set(libraries(folder, "cell")) == {first, other}
    assert list(libraries(folder, "cel")) == []
    assert first.read_text() == "1"


def test_the_same_library_twice_is_one(folder: Path) -> None:
    assert stored(folder, "1", "cell") == stored(folder, "1", "cell")
    assert len(list(folder.iterdir())) == 1


def test_nobody_else_may_look_inside(folder: Path) -> None:
    before = os.umask(0)
    try:
        stored(folder, "1", "cell")
    finally:
        os.umask(before)
    for part in (folder, folder.parent):
        assert stat.S_IMODE(part.stat().st_mode) == 0o700


def test_a_library_that_was_cut_short_is_not_found(folder: Path) -> None:
    path = stored(folder, "a whole library", "cell")
    path.write_text("a whole")
    assert list(libraries(folder, "cell")) == []
    assert stored(folder, "a whole library", "cell") == path
    assert list(libraries(folder, "cell")) == [path]


def test_a_folder_that_is_not_there_has_no_libraries(folder: Path) -> None:
    assert list(libraries(folder, "cell")) == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
@pytest.mark.parametrize("inner", [True, False])
def test_a_folder_that_others_can_write_is_not_used(folder: Path, mode: int, inner: bool) -> None:
    path = stored(folder, "1", "cell")
    part = folder if inner else folder.parent
    part.chmod(mode)
    if mode == 0o1777 and not inner:  # as /tmp is: nobody can move the folder that is ours
        assert list(libraries(folder, "cell")) == [path]
        return
    assert list(libraries(folder, "cell")) == []
    with pytest.warns(RuntimeWarning, match=f"{part} can be written by others.*HOLDFAST_CACHE"):
        where = stored(folder, "2", "cell")
    assert where.parent != folder
    assert list(folder.iterdir()) == [path]


def test_a_folder_that_others_can_move_is_not_used(folder: Path, tmp_path: Path) -> None:
    stored(folder, "1", "cell")
    tmp_path.chmod(0o770)
    assert list(libraries(folder, "cell")) == []
    with pytest.warns(RuntimeWarning, match=f"{tmp_path} can be written by others"):
        stored(folder, "2", "cell")


def test_a_link_is_followed_once(folder: Path, tmp_path: Path) -> None:
    """Who turns the link round meanwhile changes nothing."""
    folder.mkdir(parents=True)
    link, elsewhere = tmp_path / "link", tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.symlink_to(folder)
    path = stored(link, "1", "cell")
    assert path.parent == folder
    assert list(libraries(link, "cell")) == [path]
    with workplace(link) as here:
        (here / "cell.so").write_text("2")
        link.unlink()
        link.symlink_to(elsewhere)
        assert keep(here / "cell.so", link, "cell") == here / "cell.so"
        assert here.parent == folder
    assert list(elsewhere.iterdir()) == []
    elsewhere.chmod(0o777)
    assert list(libraries(link, "cell")) == []


def test_a_library_that_others_can_write_is_not_found(folder: Path) -> None:
    before = os.umask(0)
    try:
        path = stored(folder, "1", "cell")
    finally:
        os.umask(before)
    assert list(libraries(folder, "cell")) == [path]
    path.chmod(0o664)
    assert list(libraries(folder, "cell")) == []


def test_a_link_is_no_library(folder: Path, tmp_path: Path) -> None:
    path = stored(folder, "1", "cell")
    path.rename(tmp_path / "library")
    path.symlink_to(tmp_path / "library")
    assert list(libraries(folder, "cell")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a library to another user")
def test_a_library_of_another_user_is_not_found(folder: Path) -> None:
    """As one may have left it while the folder was open to all."""
    os.chown(stored(folder, "1", "cell"), 65534, -1)
    assert list(libraries(folder, "cell")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
@pytest.mark.parametrize("inner", [True, False])
def test_a_folder_of_another_user_is_not_used(folder: Path, inner: bool) -> None:
    stored(folder, "1", "cell")
    os.chown(folder if inner else folder.parent, 65534, -1)
    assert list(libraries(folder, "cell")) == []
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        stored(folder, "2", "cell")


def test_where_nothing_can_be_written_each_process_has_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cells"
    with pytest.warns(RuntimeWarning, match=r"cells cannot be written: (Not a directory|File exists)"):
        where = stored(folder, "1", "cell")
    assert where.name == "cell.so"
    assert not where.parent.exists()
    stored(folder, "1", "cell")  # which is told once


def test_a_place_of_ones_own_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_made_in", lambda folder: None)
    with workplace(tmp_path) as here:
        assert here.parent != tmp_path
        assert stat.S_IMODE(here.stat().st_mode) == 0o700


def half_a_library(folder: Path) -> None:
    with workplace(folder) as here:
        (here / "cell.h").write_text("half a")
        raise KeyboardInterrupt


def test_nothing_is_left_behind(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        half_a_library(folder)
    assert list(folder.iterdir()) == []
