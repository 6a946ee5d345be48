"""`holdfast inspect`: what a saved model does with rows, as one page to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(model: str, data: str, out: str, *, rows: str | None, columns: Mapping[str, str | None]) -> None:
    """Write the page, and print the questions that it answers.

    Args:
        model: the directory of a saved model.
        data: a file of rows.
        out: the page.
        rows: numbers of rows with commas between them; None: the model's task chooses.
        columns: names of columns, and the encoding.

    Raises:
        InputError: the model, the rows or the place cannot be used.
    """
    from pathlib import Path

    from holdfast.cli import consoles
    from holdfast.tasks.inspecting import inspect

    numbers = numbers_of(rows)
    watcher = consoles.progress()
    with watcher.status("loading") as status:

        def told(words: str) -> None:
            status.update(words)
            if not watcher.is_terminal:
                watcher.print(words)

        report = inspect(model, data, out, rows=numbers, told=told, **columns)
    console = consoles.results()
    for question, texts in report.answers.items():
        console.print(question, style="bold")
        for text in texts:
            console.print(f"  {text}")
    console.print()
    console.print(f"to look at: {out}", soft_wrap=True)
    console.print(f"its numbers: {Path(out).with_suffix('.json')}", soft_wrap=True)


def numbers_of(rows: str | None) -> list[int]:
    """`"3,17"` as `[3, 17]`.

    Raises:
        InputError: something else than whole numbers.
    """
    if rows is None:
        return []
    try:
        return [int(part) for part in rows.split(",")]
    except ValueError:
        raise InputError(
            f"--rows takes whole numbers with commas between them, as 3,17; got {rows!r}"
        ) from None
