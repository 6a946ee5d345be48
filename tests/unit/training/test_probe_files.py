"""Which file or folder the options mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.training import probe_files
from holdfast.training.options import ProbeOptions
from holdfast.training.probe_files import csv_beside, probe_beside, written_probes
from holdfast.training.probe_sinks import CsvSink

CSV = ProbeOptions(write="csv", every=7, rows=3)


def test_none_is_the_default() -> None:
    assert probe_beside(Path("model"), ProbeOptions()) is None


def test_a_file_beside_the_model() -> None:
    probe = probe_beside(Path("a/model.v1"), CSV)
    assert probe is not None
    assert (probe.every, probe.rows) == (7, 3)
    assert isinstance(probe.sink, CsvSink)
    assert probe.sink.path == csv_beside(Path("a/model.v1")) == Path("a/model.v1.probes.csv")


def test_what_goes_into_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model"
    assert written_probes(out, CSV) == {}
    csv_beside(out).write_bytes(b"epoch\n")
    assert written_probes(out, CSV) == {"probes.csv": b"epoch\n"}
    assert written_probes(out, ProbeOptions()) == {}
    monkeypatch.setattr(probe_files, "MAX_PROBES_BYTES", 5)
    assert written_probes(out, CSV) == {}  # too large for a model
