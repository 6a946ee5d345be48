"""The generated files are those that the cells would write now."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cells.print_code import generated_files, main, stale_files

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_files_are_current() -> None:
    assert stale_files(ROOT) == []


def test_check_names_what_is_stale_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert "docs/equations.md is stale" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_writing_makes_the_check_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "wrote docs/equations.md\nwrote csrc/generated/cells.h\nwrote csrc/generated/staged_cells.h\n"
    )
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / "docs" / "equations.md").write_text("changed")
    assert main(["--check", "--root", str(tmp_path)]) == 1


def test_every_generated_file_names_its_generator_first() -> None:
    for text in generated_files().values():
        assert "print_code" in text.splitlines()[0]
