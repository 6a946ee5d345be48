"""Where probes are written: every number is read back as it was, and an absent package is named."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.errors import InputError, MissingExtraError
from holdfast.training.probe_sinks import CsvSink, TensorBoardSink, from_csv, tag, to_csv
from holdfast.training.probes import ProbeRow

ROWS = [
    ProbeRow(1, 4, "loss", 0.1 + 0.2),
    ProbeRow(1, 4, "state_gradient_norm", 1e-300, 2, "reverse", lag=0),
    ProbeRow(2, 1, "open", 1.0, 1, "forward", gate="f"),
    ProbeRow(2, 3, "gradient_norm", float("inf")),
]


def test_csv_holds_every_number() -> None:
    assert from_csv(to_csv(ROWS)) == ROWS
    assert from_csv("") == []
    assert to_csv([]) == "epoch,step,measure,value,layer,direction,gate,lag\n"


def test_a_file_grows_probe_by_probe(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "new" / "p.csv")
    sink.begin(1, 0, 0)
    sink.write(ROWS[:2], 4)
    assert from_csv(sink.path.read_text()) == ROWS[:2]  # before it is closed
    sink.write(ROWS[2:], 8)
    sink.close()
    sink.close()
    assert from_csv(sink.path.read_text()) == ROWS


@pytest.mark.parametrize(("place", "kept"), [((1, 0), 0), ((1, 4), 2), ((2, 0), 2), ((2, 1), 3), ((2, 3), 4)])
def test_what_is_later_than_the_place_is_dropped(tmp_path: Path, place: tuple[int, int], kept: int) -> None:
    (tmp_path / "p.csv").write_text(to_csv(ROWS))
    sink = CsvSink(tmp_path / "p.csv")
    sink.begin(*place, 0)
    sink.close()
    assert from_csv((tmp_path / "p.csv").read_text()) == ROWS[:kept]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", to_csv([]) + "1,x,loss,0.1,0,,,\n", to_csv([]) + "1,2\n"])
def test_another_file_is_not_continued(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match="no file of probes"):
        CsvSink(tmp_path / "p.csv").begin(1, 0, 0)
    assert (tmp_path / "p.csv").read_text() == text


def test_the_names_of_the_curves() -> None:
    assert [tag(row) for row in ROWS] == [
        "probes/loss",
        "probes/layer 2 reverse/state_gradient_norm lag 0",
        "probes/layer 1 forward/open f",
        "probes/gradient_norm",
    ]


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'holdfast\[tensorboard\]'"):
        TensorBoardSink(tmp_path / "events")


def test_tensorboard_gets_one_scalar_for_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            heard.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            heard.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None:
            heard.append("closed")

    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    sink = TensorBoardSink(tmp_path / "events")
    sink.begin(1, 0, 0)
    sink.write(ROWS[:1], 4)
    sink.close()
    sink.close()
    assert heard == [(str(tmp_path / "events"), 1), ("probes/loss", ROWS[0].value, 4), "closed"]


def test_real_event_files_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoardSink(tmp_path)
    sink.begin(1, 0, 0)
    sink.write(ROWS[:3], 4)
    sink.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {name: events.Scalars(name)[0].step for name in map(tag, ROWS[:3])} == dict.fromkeys(
        map(tag, ROWS[:3]), 4
    )
    assert events.Scalars("probes/loss")[0].value == pytest.approx(0.3)


def test_a_run_that_goes_on_hides_what_lies_there_of_later_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps, values in ((0, {2: 0.1, 4: 0.2, 6: 0.3}), (3, {4: 0.5})):
        sink = TensorBoardSink(tmp_path)
        sink.begin(1, steps, steps)
        for step, value in values.items():
            sink.write([ProbeRow(1, step, "loss", value)], step)
        sink.close()
        time.sleep(1.1)  # the names of event files have seconds in them, by which they are sorted
    seen = {
        event.step: event.value for event in EventAccumulator(str(tmp_path)).Reload().Scalars("probes/loss")
    }
    assert seen == pytest.approx({2: 0.1, 4: 0.5})
