"""`holdfast predict`: a class and its probabilities for every text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from holdfast.errors import DataError

if TYPE_CHECKING:
    from holdfast.data.table import TextTable


def run(model: str, data: str, out: str, *, text: str | None, encoding: str | None) -> None:
    """Predict every record of `data`, in its order.

    Raises:
        InputError: the model, the data or the place to write to cannot be used.
    """
    from holdfast.cli import consoles, predictions
    from holdfast.cli.progress import listener
    from holdfast.tasks import load

    path = None if out == "-" else predictions.check_output(out, data)
    loaded = load(model)
    if data == "-":
        table = _from_standard_input(encoding)
    else:
        table = loaded.read(data, text=text, encoding=encoding, need_labels=False)
    columns = predictions.table(loaded, table)
    watcher = listener(consoles.progress())
    if data != "-":
        watcher.read(table.report.lines())
    if path is None:
        _print(predictions.encode(columns, ".csv"))
        return
    predictions.write(columns, path)
    watcher.message(f"{len(table.texts):,} predictions are in {out}")


def _from_standard_input(encoding: str | None) -> TextTable:
    """One text per line."""
    from pathlib import Path

    from holdfast.data.files import decode, line_number
    from holdfast.data.table import read_texts

    if sys.stdin.isatty():
        print("Type one text per line; Ctrl-D ends.", file=sys.stderr)
    name = "standard input"
    content, _ = decode(Path(name), sys.stdin.buffer.read(), encoding, line_number)
    lines = content.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise DataError(f"{name} has no text; give one text per line")
    return read_texts(lines, need_labels=False)


def _print(content: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
