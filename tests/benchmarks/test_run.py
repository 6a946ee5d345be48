"""A run writes as it goes, resumes, and reports from what is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ours
import peers
import pytest
import records as records_module
import run
from case import Measured
from groups import tracing
from groups.own_cell import OWN_CELL
from groups.ragged import ON_ONE, ON_TWO
from groups.recompute import SAVED
from made_up import add, side
from picture import draw
from problem import Problem, Shape
from records import COLUMNS, Records, commit, failed_row
from report import BEGIN, END, publish, report


class Counted:
    """A case that says how often it was measured."""

    def __init__(self, name: str, records: Records) -> None:
        self.name, self.times, self._elsewhere = name, 0, records

    def measure(self, seconds: float) -> Measured:
        self.times += 1
        shape = Shape(1, 2, 3, 4)
        failed = failed_row("g", self.name, side("b"), Problem(shape, "training"), "it has\nno wheels")
        return Measured(add(self._elsewhere, "g", self.name, shape, {"a": 1.5}, ratio=1.0), [failed])


def test_a_stopped_group_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(tmp_path / "results")
    first, second = (Counted(name, Records(tmp_path / "elsewhere")) for name in ("first", "second"))
    monkeypatch.setitem(run.GROUPS, "g", lambda _size: [first])
    (failed,) = run.measure_group("g", "tiny", 0.0, records, resume=True)
    assert (failed["case"], failed["side"], failed["detail"]) == ("first", "b", "it has no wheels")
    assert records.failed("g") == [failed]
    monkeypatch.setitem(run.GROUPS, "g", lambda _size: [first, second])
    run.measure_group("g", "tiny", 0.0, records, resume=True)
    assert (first.times, second.times) == (1, 1)
    assert [row["case"] for row in records.rows("g")] == ["first", "second"]
    run.measure_group("g", "tiny", 0.0, records, resume=False)
    assert (first.times, second.times) == (2, 2)
    assert [row["case"] for row in records.rows("g")] == ["first", "second"]
    assert records.path("g").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_run_goes_on_at_the_same_commit_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records, shape = Records(tmp_path), Shape(1, 2, 3, 4)
    assert run.reason_against_resuming(records, ["step", "memory"]) is None
    add(records, "step", "s", shape, {"a": 1.5})
    assert {row["commit"] for row in records.rows("step")} == {commit()}
    assert run.reason_against_resuming(records, ["step", "memory"]) is None
    monkeypatch.setattr(run, "commit", lambda: "0123456789ab")
    assert run.reason_against_resuming(records, ["memory"]) is None
    arguments = ["--tiny", "--resume", "--only", "step", "--skip-contract", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    assert run.main() == 1
    said = capsys.readouterr().err
    assert f"step.csv has rows of commit {commit() or 'unknown'}, and this is 0123456789ab" in said


def test_the_commit_is_marked_where_the_code_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *author, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(records_module, "ROOT", tmp_path)
    found = commit.__wrapped__
    assert found() == ""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("1")
    (tmp_path / "README.md").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = found()
    assert len(clean) == 12
    (tmp_path / "README.md").write_text("2")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "step.csv").write_text("2")
    assert found() == clean
    (tmp_path / "src" / "code.py").write_text("2")
    assert found() == f"{clean}-dirty"


def test_the_command_runs_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tiny", "--only", "scaling", "--skip-contract", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    monkeypatch.setattr(run, "limit_threads", lambda _threads: None)
    assert run.main() == 0
    printed = capsys.readouterr().out
    assert "training, T" in printed
    assert "| training time, exponents in T, B and H(I + H) |" in printed
    assert len(Records(tmp_path).rows("scaling")) == 12


@pytest.fixture
def measured(tmp_path: Path) -> Records:
    records, shape = Records(tmp_path / "results"), Shape(100, 16, 64, 128)
    values = {ours.LAYER.name: 2.0, peers.TORCH.name: 4.0, peers.LOOP.name: 32.0}
    for group in ("training", "forward"):
        add(records, group, f"{group} {shape}", shape, values)
    add(
        records,
        "variants",
        "peephole",
        shape,
        {ours.LAYER.name: 2.2, peers.LOOP.name: 33},
        variant="peephole",
    )
    add(records, "variants", "peephole", shape, {ours.LAYER.name: 2}, variant="plain")
    add(records, "product", "p", shape, {ours.LAYER.name: 1}, gflop_s=300.0)
    add(records, "product", "p", shape, {"product": 1}, gflop_s=400.0)
    return records


def test_the_report_shows_the_medians(measured: Records) -> None:
    text = "\n".join(report(measured))
    assert "| training, ms | 100 16 64 128 |" in text
    assert f"| {ours.LAYER.name} | **2** |" in text
    assert f"| {peers.TORCH.name} | 4 |" in text
    assert "| peephole | 2.2 | 2 | 1.10 | 33 |  | 15.0 |" in text
    assert "| 100 16 64 128 | 75 % |  |" in text
    assert f"Commit {commit() or 'unknown'}; " in text


def test_the_report_has_a_table_for_each_further_group(tmp_path: Path) -> None:
    records, shape, long = Records(tmp_path), Shape(100, 16, 64, 128), Shape(10_000, 1, 64, 128, 2, 3)
    case, layer, recomputed = f"layer norm {shape}", ours.LAYER.name, ours.RECOMPUTED.name
    values = {layer: 15, peers.LOOP.name: 60, peers.COMPILED_STEPS.name: 75}
    add(records, "staged", case, shape, values, variant="layer norm")
    add(records, "staged", case, shape, {layer: 10})
    add(records, "recompute", f"{SAVED}, {long}", long, {layer: 200, recomputed: 20}, unit="MB")
    values = {layer: 18, ours.BFLOAT16.name: 10, peers.TORCH.name: 9, peers.BFLOAT16.name: 6}
    add(records, "bfloat16", f"training {shape}", shape, values)
    one, two = ({"threads": threads, "detail": "3000 of 4000 steps are valid"} for threads in (1, 2))
    add(records, "ragged", "32 rows, sorted", shape, {ON_ONE: 30}, **one)
    add(records, "ragged", "32 rows, sorted", shape, {ON_TWO: 20}, **two)
    for work in ("training", "forward"):
        add(records, "extremes", f"{work} {shape}", shape, {layer: 1, peers.TORCH.name: 2}, work=work)
        add(records, "own_cell", f"{work} {shape}", shape, {layer: 1, OWN_CELL.name: 1.01}, work=work)
    plain, traced, gradients = (side.name for side in tracing.SIDES)
    add(records, "tracing", f"training, plain {shape}", shape, {plain: 10, traced: 11, gradients: 13})
    own, traced, _ = (side.name for side in tracing.OWN_SIDES)
    add(records, "tracing", f"forward, a user's cell {shape}", shape, {own: 4, traced: 5}, work="forward")
    text = "\n".join(report(records))
    assert f"| training, plain {shape} | 10 | 11 | 1.10 | 13 | 1.30 |" in text
    assert f"| forward, a user's cell {shape} | 4 | 5 | 1.25 |  |  |" in text
    assert f"| {case} | 15 | 10 | 1.50 | 60 | 75 |  |  | 4.0 |" in text
    assert f"| {SAVED}, 10000 1 64 128, 3 layers both ways, MB | 200 | 20 | 0.10 |" in text
    assert f"| training {shape} | 18 | 10 | 9 | 6 | 1.80 | 1.50 |" in text
    assert "| 32 rows, sorted | 30 | 20 | 1.50 | 150,000 | 75 % |" in text
    for group in ("extremes", "own_cell"):
        assert f"| {group}, ms | training {shape} | forward {shape} |" in text
    assert text.count("2 threads of ") == 1
    assert "1 thread of " not in text


def test_the_report_names_who_failed(measured: Records) -> None:
    problem = Problem(Shape(100, 16, 64, 128), "forward")
    for peer in (peers.JAX, peers.LOOP):
        measured.add("forward", [failed_row("forward", "forward 100 16 64 128", peer, problem, "no")])
    text = "\n".join(report(measured))
    assert f"| {peers.JAX.name} | failed |" in text
    assert f"| {peers.LOOP.name} | 32 |" in text
    assert text.count(f"x at 100 16 64 128; not timed: {peers.JAX.name} (1), {peers.LOOP.name} (1) |") == 1
    assert f"not measured; not timed: {peers.JAX.name} (1)" in text


def test_publishing_replaces_only_what_stands_between_the_marks(measured: Records, tmp_path: Path) -> None:
    readme, picture = tmp_path / "README.md", tmp_path / "docs" / "speed.png"
    readme.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    publish(measured, readme, picture)
    once = readme.read_text(encoding="utf-8")
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "stale" not in once
    assert picture.read_bytes().startswith(b"\x89PNG")
    publish(measured, readme, picture)
    assert readme.read_text(encoding="utf-8") == once


def test_the_picture_is_the_same_each_time(measured: Records, tmp_path: Path) -> None:
    draw(measured, tmp_path / "a.png")
    draw(measured, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
