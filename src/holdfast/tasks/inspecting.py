"""From a saved model and a file of rows to a report that can be looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import InputError
from holdfast.inspection.page import page
from holdfast.inspection.report import Report, inspect_network
from holdfast.model_file.format import load_bundle
from holdfast.tasks.loading import task_of

PAGE_SUFFIXES = (".html", ".htm")


def inspect(
    model: str | Path,
    data: Any,
    out: str | Path = "report.html",
    *,
    rows: Sequence[int] = (),
    told: Callable[[str], None] = lambda _: None,
    **columns: str | None,
) -> Report:
    """Look into a saved model while it reads rows, and write what was seen as one page.

    The page needs nothing but a browser. Beside it, under the same name with `.json`, stand all numbers;
    `docs/inspection.md` says what they mean.

    Args:
        model: the directory of a saved model.
        data: rows such as those it was trained on: whatever `holdfast.train` takes. Labels are used where
            there are some.
        out: the page to write, `.html`.
        rows: numbers of rows to look at step by step, as in messages; none: three that say much.
        told: called with a few words before each part.
        **columns: how the rows are read, as in the model's `read`: `text="comment"`.

    Returns:
        What was seen.

    Raises:
        ModelFileError: there is no usable model.
        InputError: the rows cannot be used, there is no such row, or the model has no LSTM in it.
        MissingExtraError: matplotlib or jinja2 is not installed.

    Example:
        >>> report = inspect("model", "reviews.csv", "report.html", rows=[3, 17])  # doctest: +SKIP
        >>> report.answers["How many steps back does it remember?"]  # doctest: +SKIP
    """
    path = Path(out)
    check_page(path)
    bundle = load_bundle(model)
    task = task_of(bundle)
    material = task.material(task.load(bundle), bundle, data, rows=rows, columns=columns)
    report = inspect_network(material, told)
    write_report(report, path)
    return report


def check_page(path: Path) -> None:
    """Refuse a place where no page can be written, before minutes of work.

    Raises:
        InputError: says what is wrong with the place.
    """
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"the report is a web page: {path} must end in .html")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no directory; make it first")
    if path.is_dir():
        raise InputError(f"{path} is a directory; give the report a file name")


def write_report(report: Report, path: Path) -> None:
    """Write the page, and its numbers beside it; neither is ever half there."""
    for place, content in ((path, page(report)), (path.with_suffix(".json"), report.to_json())):
        beside = place.with_name(f".{place.name}.{os.getpid()}.part")
        try:
            beside.write_text(content, encoding="utf-8")
            beside.replace(place)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InputError(f"{place} cannot be written: {error.strerror}") from None
