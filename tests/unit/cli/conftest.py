"""A small file of labelled texts, a model trained on it, and a way to call the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_texts import AS_SETTINGS, toy_texts
from typer.testing import CliRunner, Result

from holdfast.cli.main import app


def write_csv(path: Path, texts: list[str], labels: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(zip(texts, labels, strict=True))
    return path


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run `holdfast WORDS` in this process; `input` is standard input."""
    runner = CliRunner()
    return lambda *words, **options: runner.invoke(app, [str(word) for word in words], **options)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("reviews") / "reviews.csv", *toy_texts(150))


@pytest.fixture(scope="session")
def trained(reviews: Path) -> tuple[Path, Result]:
    """A saved model, and what training it printed."""
    path = reviews.parent / "model"
    words = ["train", "text-classification", str(reviews), "-o", str(path), *AS_SETTINGS]
    return path, CliRunner().invoke(app, words)
