"""The examples run, and learn something even when cut short."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from holdfast.cells import CELLS

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sentiment_from_characters(capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = load("sentiment_from_characters").main(400, 1)
    assert 0.4 < accuracy < 1
    assert f"accuracy {accuracy:.3f} on 1000 unseen reviews; majority" in capsys.readouterr().out


def test_classify_texts(capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = load("classify_texts").main(1000, 8)
    assert accuracy > 0.6
    assert "beats majority" in capsys.readouterr().out


def test_your_own_cell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "keeper", CELLS["lstm"])  # what is there goes afterwards
    error = load("your_own_cell").main(300, 30)
    printed = capsys.readouterr().out
    assert error < 0.1
    assert f"mean squared error {error:.4f}; of who always says 1: 0.1" in printed
    marked, others = map(float, re.findall(r"0\.\d+", printed.splitlines()[-1]))
    assert marked > 1.5 * others


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
