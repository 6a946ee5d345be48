"""`holdfast inspect`: a page and its numbers, or one message and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import holdfast

Call = Callable[..., Result]


def test_a_page_is_written_and_its_answers_are_printed(
    call: Call, trained: tuple[Path, Result], reviews: Path, tmp_path: Path
) -> None:
    out = tmp_path / "look.html"
    result = call("inspect", trained[0], reviews, "-o", out, "--rows", "3,5")
    assert result.exit_code == 0, result.output
    for question in ("Which word turned the cell?", "How many steps back does it remember?"):
        assert question in result.stdout
    assert "Which units do nothing?" in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    numbers = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert [row["name"] for row in numbers["rows"]] == ["reviews.csv, row 3", "reviews.csv, row 5"]
    assert numbers["history"]["epochs"] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.html", "look.json"]


def test_labels_are_not_needed(trained: tuple[Path, Result], tmp_path: Path) -> None:
    report = holdfast.inspect(trained[0], ["good film", "bad film", "no"], tmp_path / "r.html")
    assert "calibration" not in report.numbers
    assert all(row.target is None for row in report.rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "r.txt"], "must end in .html"),
        (["-o", "nowhere/r.html"], "is no directory; make it first"),
        (["--rows", "three"], "--rows takes whole numbers with commas between them, as 3,17; got 'three'"),
        (["--rows", "9999"], "has no row 9999: its rows are 2 to 151"),
        (["--text", "words"], "words"),
    ],
)
def test_what_cannot_be_is_refused(
    call: Call,
    trained: tuple[Path, Result],
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("inspect", trained[0], reviews, *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_no_model_is_refused_by_its_name(call: Call, reviews: Path, tmp_path: Path) -> None:
    result = call("inspect", tmp_path / "missing", reviews, "-o", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "missing" in result.stderr
    assert not list(tmp_path.iterdir())
