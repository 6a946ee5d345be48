"""Which tasks there are, and which one a saved model is of."""

from __future__ import annotations

import difflib

from holdfast.errors import ConfigError, ModelFileError
from holdfast.model_file.format import Bundle
from holdfast.tasks.task import Task
from holdfast.tasks.text_classification import TEXT_CLASSIFICATION

TASKS: dict[str, Task] = {TEXT_CLASSIFICATION.name: TEXT_CLASSIFICATION}


def find_task(name: str) -> Task:
    """The task called `name`.

    Raises:
        ConfigError: there is none; suggests the nearest.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, 1, 0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"there is no task {name!r}; there are: {', '.join(TASKS)}.{hint}")


def task_of(bundle: Bundle) -> Task:
    """The task of a saved model.

    Raises:
        ModelFileError: it is of none that is known here.
    """
    task = TASKS.get(str(bundle.config.get("task")))
    if task is None:
        raise ModelFileError(
            f"{bundle.path}: holds a model for the task {bundle.config.get('task')!r}, unknown here"
        )
    return task
