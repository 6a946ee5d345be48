"""`holdfast init`: every option of a task, as YAML."""

from __future__ import annotations


def run(task: str) -> None:
    """Print the default options of `task` with their meanings.

    Raises:
        ConfigError: there is no such task.
    """
    from holdfast.tasks import find_task
    from holdfast.tasks.configuration import to_yaml

    print(to_yaml(find_task(task).options()), end="")
