"""A run writes as it goes, resumes, and reports from what is written."""

from __future__ import annotations

import sys
from pathlib import Path

import ours
import peers
import pytest
import run
from case import Measured
from made_up import add
from picture import draw
from problem import Shape
from records import COLUMNS, Records
from report import BEGIN, END, publish, report


class Counted:
    """A case that says how often it was measured."""

    def __init__(self, name: str, records: Records) -> None:
        self.name, self.times, self._elsewhere = name, 0, records

    def measure(self, seconds: float) -> Measured:
        self.times += 1
        return Measured(add(self._elsewhere, "g", self.name, Shape(1, 2, 3, 4), {"a": 1.5}, ratio=1.0), ["x"])


def test_a_stopped_group_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(tmp_path / "results")
    first, second = (Counted(name, Records(tmp_path / "elsewhere")) for name in ("first", "second"))
    monkeypatch.setitem(run.GROUPS, "g", lambda _size: [first])
    assert run.measure_group("g", "tiny", 0.0, records, resume=True) == ["x"]
    monkeypatch.setitem(run.GROUPS, "g", lambda _size: [first, second])
    run.measure_group("g", "tiny", 0.0, records, resume=True)
    assert (first.times, second.times) == (1, 1)
    assert [row["case"] for row in records.rows("g")] == ["first", "second"]
    run.measure_group("g", "tiny", 0.0, records, resume=False)
    assert (first.times, second.times) == (2, 2)
    assert [row["case"] for row in records.rows("g")] == ["first", "second"]
    assert records.path("g").read_text().splitlines()[0] == ",".join(COLUMNS)


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
