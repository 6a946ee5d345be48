"""Every benchmark runs, and what it times side by side is the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_every_case_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import registry
    import run

    for case in registry.cases("tiny"):
        row = run.measure(case, seconds=0.0)
        assert float(str(row["ratio"])) > 0, case.group
        assert list(row) == list(run.COLUMNS)
    for size in ("quick", "full"):
        groups = {case.group for case in registry.cases(size)}
        assert groups == {case.group for case in registry.cases("tiny")}
