"""`holdfast lab` in this process: what it lists, runs, prints and writes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.cli import main
from holdfast.lab import registry
from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome


def fall(case: Case, arm: Arm, seed: int) -> Outcome:
    """A run without a network."""
    solved = arm.expected == SOLVES
    return Outcome(
        solved, 90 + seed, f"{seed} of 9 wrong", {"wrong": seed}, ((1.0, 0.5), (90.0, 0.1)), 7, 1.0
    )


FALLING = Experiment(
    name="falling",
    title="Falling",
    source="Nobody 1997",
    question="Does it fall?",
    criterion="it is down",
    ours="by itself",
    cases=(Case("far", "99 sequences", (Arm("lstm", SOLVES, 100), Arm("rnn", FAILS, 100)), {}, 99),),
    quick=(Case("near", "none", (Arm("lstm", SOLVES, 100),)),),
    run=fall,
    seeds=2,
    note="It does.",
)


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """Runs the verb in an empty directory with one experiment; returns what it exits with."""
    for name in list(registry.EXPERIMENTS):
        monkeypatch.delitem(registry.EXPERIMENTS, name)
    monkeypatch.setitem(registry.EXPERIMENTS, "falling", FALLING)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, columns: int = 140) -> int:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["holdfast", "lab", *words])
        with pytest.raises(SystemExit) as stopped:
            main.main()
        code = stopped.value.code
        assert code is None or isinstance(code, int)
        return code or 0

    return run


def test_without_a_name_the_experiments_are_listed_and_nothing_is_written(lab, capsys) -> None:
    assert lab() == 0
    printed = capsys.readouterr().out
    assert "falling" in printed
    assert "Nobody 1997" in printed
    assert not list(Path().iterdir())


def test_a_run_prints_the_table_and_writes_page_numbers_and_picture(lab, capsys) -> None:
    assert lab("falling", "--jobs", "1") == 0
    printed = capsys.readouterr()
    assert "99 sequences" in printed.out
    assert "2 of 2" in printed.out
    assert "90 (90 to 91)" in printed.out
    assert "It does." in printed.out
    assert "4 of 4" in printed.err
    folder = Path("holdfast-lab")
    assert sorted(path.name for path in (folder / "lab").iterdir()) == ["falling.json", "falling.png"]
    page = (folder / "lab.md").read_text()
    assert "[Falling](#falling)" in page
    assert "| lstm | 2 of 2 | 90 (90 to 91) | agrees |" in page
    assert "| rnn | 0 of 2 | over 91 | agrees |" in page
    assert (folder / "lab" / "falling.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((folder / "lab" / "falling.json").read_text())["runs"]) == 4


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_narrow_window_cuts_nothing_off(lab, capsys, columns: int) -> None:
    assert lab("falling", "--jobs", "1", "--seeds", "1", columns=columns) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("99 sequences", "0 of 9 wrong", "1 of 1", "over 90"):
        assert words in printed


def test_the_quick_version_runs_the_quick_cases_once(lab, capsys) -> None:
    assert lab("falling", "--quick", "--jobs", "1", "-o", "here") == 0
    assert "near" in capsys.readouterr().out
    assert len(json.loads(Path("here/lab/falling.json").read_text())["runs"]) == 1


def test_the_page_is_written_anew_from_the_numbers(lab, capsys, monkeypatch) -> None:
    lab("--all", "--jobs", "1", "-o", "here")
    monkeypatch.setitem(registry.EXPERIMENTS, "falling", replace(FALLING, note="Another word."))
    assert lab("--page", "-o", "here") == 0
    assert "Another word." in Path("here/lab.md").read_text()
    assert "written: here/lab.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rising"], "there is no experiment 'rising'; there are falling"),
        (["falling", "--all"], "--all runs every experiment; leave out falling, or --all"),
        (["--page", "-o", "nowhere"], "nowhere holds no results of the lab"),
        (["--quick"], "name an experiment, or --all"),
        (["falling", "--jobs", "0"], "Invalid value for '--jobs'"),
    ],
)
def test_what_cannot_be_is_refused(lab, capsys, words: list[str], message: str) -> None:
    assert lab(*words) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("holdfast-lab").exists()


def test_the_short_version_does_not_replace_the_long_one(lab, capsys) -> None:
    lab("falling", "--jobs", "1")
    assert lab("falling", "--quick", "--jobs", "1") == 2
    assert "holds the runs of the whole falling" in " ".join(capsys.readouterr().err.split())
