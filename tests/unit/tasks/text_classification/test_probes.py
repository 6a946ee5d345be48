"""Probes and advice of a text classifier: written into the model, without changing it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_texts import TINY, toy_texts

from holdfast.errors import MissingExtraError, TrainingInterrupted
from holdfast.tasks import load, train
from holdfast.tasks.text_classification import lstm_part
from holdfast.training.probe_sinks import from_csv
from holdfast.training.progress import Listener

EVERY = 3
PROBED = {"probes.write": "csv", "probes.every": EVERY, "probes.rows": 4}


def trained(out: Path, listener: Listener | None = None, *, resume: bool = False, **options: Any) -> Any:
    return train(
        "text-classification", toy_texts(), out, listener=listener, resume=resume, **{**TINY, **options}
    )


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


class StoppingAt(Listener):
    """Ctrl-C after a step; and remembers the messages."""

    def __init__(self, *place: int) -> None:
        self.place, self.heard = place, list[str]()

    def message(self, text: str) -> None:
        self.heard.append(text)

    def step(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == self.place:
            os.kill(os.getpid(), signal.SIGINT)


def test_probes_are_in_the_model_and_change_nothing_else(tmp_path: Path) -> None:
    trained(tmp_path / "plain")
    result = trained(tmp_path / "probed", **PROBED)
    assert weights(tmp_path / "plain") == weights(tmp_path / "probed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "probed"]
    rows = from_csv((tmp_path / "probed" / "probes.csv").read_text())
    steps = sorted({(row.epoch, row.step) for row in rows})
    assert len(steps) >= len(result.history)
    assert {row.direction for row in rows if row.layer} == {"forward", "reverse"}
    assert load(tmp_path / "probed").options.probes.every == EVERY
    trained(tmp_path / "probed", overwrite=True)
    assert not (tmp_path / "probed" / "probes.csv").exists()


def test_a_run_that_was_stopped_goes_on_with_its_probes(tmp_path: Path) -> None:
    trained(tmp_path / "whole", **PROBED)
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "run", StoppingAt(2, 2), **PROBED)
    assert (tmp_path / "run.probes.csv").is_file()
    trained(tmp_path / "run", resume=True, **PROBED)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    texts = [(tmp_path / name / "probes.csv").read_text() for name in ("run", "whole")]
    assert texts[0] == texts[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "whole"]


def test_probes_may_be_switched_on_for_the_rest_of_a_run(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "run", StoppingAt(2, 2))
    trained(tmp_path / "run", resume=True, **PROBED)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert from_csv((tmp_path / "run" / "probes.csv").read_text())


def test_without_tensorboard_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"holdfast\[tensorboard\]"):
        trained(tmp_path / "model", **{"probes.write": "tensorboard"})
    assert list(tmp_path.iterdir()) == []


def test_advice_is_said_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = StoppingAt()
    result = trained(tmp_path / "model", listener, clip_norm=1e-6, learning_rate=1e-4)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (advice,) = config["training"]["advice"]
    assert "gradients" in advice
    assert f"advice: {advice}" in listener.heard
    assert load(tmp_path / "model").training["advice"] == [advice] == result.model.training["advice"]
    assert advice.split(".")[0] in (tmp_path / "model" / "README.md").read_text()
    monkeypatch.setattr(lstm_part, "advice_after", lambda *given: [])
    assert trained(tmp_path / "quiet").model.training["advice"] == []
