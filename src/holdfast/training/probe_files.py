"""Where the probes of a training run go: beside the model while it is trained, into it at the end."""

from __future__ import annotations

from pathlib import Path

from holdfast.model_file.limits import MAX_PROBES_BYTES
from holdfast.training.options import ProbeOptions
from holdfast.training.probe_sinks import CsvSink, TensorBoardSink
from holdfast.training.probes import Probe, Sink

PROBES_FILE = "probes.csv"


def probe_beside(out: Path, options: ProbeOptions) -> Probe | None:
    """The probe that the options ask for; it writes to `OUT.probes.csv` or to the folder `OUT.tensorboard`.

    Args:
        out: where the model is going to be.
        options: None is returned where they ask for none.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    if options.write == "none":
        return None
    sink: Sink = (
        CsvSink(csv_beside(out))
        if options.write == "csv"
        else TensorBoardSink(out.with_name(out.name + ".tensorboard"))
    )
    return Probe(sink, every=options.every, rows=options.rows)


def csv_beside(out: Path) -> Path:
    """The CSV file of a model that is being trained."""
    return out.with_name(f"{out.name}.{PROBES_FILE}")


def written_probes(out: Path, options: ProbeOptions) -> dict[str, bytes]:
    """What training wrote, by the name it has in the model; nothing where the model has no room for it."""
    path = csv_beside(out)
    if options.write != "csv" or not path.is_file() or path.stat().st_size > MAX_PROBES_BYTES:
        return {}
    return {PROBES_FILE: path.read_bytes()}
