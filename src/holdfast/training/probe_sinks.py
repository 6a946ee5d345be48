"""Where probes are written: a CSV file that a resumed run goes on with, or TensorBoard."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from holdfast.errors import InputError, require
from holdfast.training.probes import ProbeRow

COLUMNS = tuple(field.name for field in dataclasses.fields(ProbeRow))
SCALARS = "probes"


class CsvSink:
    """A CSV file, one line for each number; a probe's lines are on the disk when the next step begins.

    Args:
        path: the file; a run that begins replaces it, one that goes on continues it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def begin(self, epoch: int, step: int, steps: int) -> None:
        """Keep the lines up to this step, drop all others, and get ready to write."""
        kept = [row for row in self._present() if (row.epoch, row.step) <= (epoch, step)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._file.write(to_csv(kept))
        self._file.flush()

    def write(self, rows: Sequence[ProbeRow], step: int) -> None:
        """Append the rows."""
        assert self._file is not None, "begin comes first"
        self._file.write(to_csv(rows).partition("\n")[2])
        self._file.flush()

    def close(self) -> None:
        """Close the file; it may be closed already."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _present(self) -> list[ProbeRow]:
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8")
        return from_csv(text[: text.rfind("\n") + 1])  # a run that was killed may leave half a line


class TensorBoardSink:
    """TensorBoard's event files, one curve for each number over all steps.

    Args:
        folder: where they go; `tensorboard --logdir FOLDER` shows them. A run that goes on hides what an
            earlier one wrote of later steps.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require("tensorboard", "tensorboard", "writing probes to TensorBoard")
        self.folder = folder
        self._writer: Any = None

    def begin(self, epoch: int, step: int, steps: int) -> None:
        """Get ready to write, and have TensorBoard hide what lies there of later steps."""
        module = require("torch.utils.tensorboard", "tensorboard", "writing probes to TensorBoard")
        self._writer = module.SummaryWriter(str(self.folder), purge_step=steps + 1)

    def write(self, rows: Sequence[ProbeRow], step: int) -> None:
        """One scalar for each row."""
        for row in rows:
            self._writer.add_scalar(tag(row), row.value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def tag(row: ProbeRow) -> str:
    """What TensorBoard calls a number: `probes/layer 1 forward/open f`, `probes/loss`."""
    place = f"/layer {row.layer} {row.direction}" if row.layer else ""
    detail = row.gate or ("" if row.lag is None else f"lag {row.lag}")
    return f"{SCALARS}{place}/{row.measure}{' ' * bool(detail)}{detail}"


def to_csv(rows: Sequence[ProbeRow]) -> str:
    """`rows` as CSV text with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    return text.getvalue()


def from_csv(text: str) -> list[ProbeRow]:
    """The rows that `to_csv` wrote.

    Raises:
        InputError: it is another file.
    """
    reader = csv.DictReader(io.StringIO(text))
    if text and tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"no file of probes: its columns are {reader.fieldnames}, not {', '.join(COLUMNS)}")
    try:
        return [_row(line) for line in reader]
    except (TypeError, ValueError) as error:
        raise InputError(f"no file of probes: {error}; delete it") from None


def _row(line: dict[str, str]) -> ProbeRow:
    return ProbeRow(
        epoch=int(line["epoch"]),
        step=int(line["step"]),
        measure=line["measure"],
        value=float(line["value"]),
        layer=int(line["layer"]),
        direction=line["direction"],
        gate=line["gate"],
        lag=int(line["lag"]) if line["lag"] else None,
    )
