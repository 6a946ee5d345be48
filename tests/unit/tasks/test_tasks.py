"""Tasks by name, and models that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import ConfigError, ModelFileError
from holdfast.tasks import TASKS, find_task, load, train


def test_every_task_is_found_by_its_name() -> None:
    for name, task in TASKS.items():
        assert find_task(name) is task
        assert task.name == name


@pytest.mark.parametrize("name", ["text-clasification", "textclassification"])
def test_a_misspelt_task_gets_a_suggestion(name: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean text-classification"):
        find_task(name)


def test_an_unknown_task_or_option_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no task 'xyzzy'; there are: text-classification"):
        train("xyzzy", tmp_path / "none.csv", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"Did you mean training\.epochs"):
        train("text-classification", tmp_path / "none.csv", tmp_path / "model", epoch=3)
    assert not list(tmp_path.iterdir())


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ModelFileError):
            load(path)
