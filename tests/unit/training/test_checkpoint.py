"""Checkpoints: exact, whole or not at all, and suspicious of what they read."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from holdfast.errors import ModelFileError
from holdfast.training.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint

FACTS = {"epoch": 3, "loss": 0.1 + 0.2, "least": 5e-324, "infinite": math.inf, "names": ["ü", None, True]}
TENSORS = {
    "weight": torch.tensor([[1 / 3, math.nan], [math.inf, -0.0]]),
    "random": torch.arange(256, dtype=torch.uint8),
    "step": torch.tensor(7.0),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}


def saved(path: Path, **facts: Any) -> Path:
    save_checkpoint(path, Checkpoint(TENSORS, {**FACTS, **facts}))
    return path


def test_what_comes_back_is_what_went_in_to_the_last_bit(tmp_path: Path) -> None:
    again = load_checkpoint(saved(tmp_path / "new" / "folder" / "run"))
    assert again.facts == FACTS
    assert again.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert again.tensors[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_saving_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    saved(tmp_path / "run")
    saved(tmp_path / "run", epoch=4)
    assert load_checkpoint(tmp_path / "run").facts["epoch"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    saved(tmp_path / "run")

    def crash(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, function, crash)
    with pytest.raises(OSError, match="no space"):
        saved(tmp_path / "run", epoch=4)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run").facts == FACTS
    saved(tmp_path / "run", epoch=5)  # what the crash left is no obstacle
    assert load_checkpoint(tmp_path / "run").facts["epoch"] == 5


def test_it_is_synchronised_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=original: (order.append(n), f(*a))[1])
    saved(tmp_path / "run")
    assert order == ["fsync", "replace"]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path / "run")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ModelFileError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64, b"\0" * 64, b"PK\x03\x04" * 20])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="delete it and train without --resume"):
        load_checkpoint(path)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"format": FORMAT + "0", "facts": "{}"}])
def test_a_safetensors_file_of_another_program_is_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "run"
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}, metadata))
    with pytest.raises(ModelFileError, match="not a checkpoint of this version"):
        load_checkpoint(path)


@pytest.mark.parametrize("facts", [None, "", "{", "[1]", "null", "3", "[" * 100_000])
def test_damaged_facts_are_refused(tmp_path: Path, facts: str | None) -> None:
    path = tmp_path / "run"
    metadata = {"format": FORMAT} | ({} if facts is None else {"facts": facts})
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}, metadata))
    with pytest.raises(ModelFileError, match="damaged"):
        load_checkpoint(path)


def test_no_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ModelFileError, match="no checkpoint to resume from; train without --resume"):
            load_checkpoint(path)


def test_facts_that_json_cannot_hold_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        saved(tmp_path / "run", path=tmp_path)
    assert not list(tmp_path.iterdir())
    assert json.loads(json.dumps(FACTS)) == FACTS
