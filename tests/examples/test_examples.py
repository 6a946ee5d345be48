"""The examples run, and learn something even when cut short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
