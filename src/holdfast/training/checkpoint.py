"""A checkpoint: everything that decides the rest of a training run, in one file.

The file is a safetensors file; what is not a tensor stands as JSON in its metadata. It is written beside its
place and renamed, so a checkpoint is either the old one or the new one, never half of one. Never pickle.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from holdfast.errors import ModelFileError

FORMAT = "holdfast-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and facts that JSON can hold exactly."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, atomically; the directory is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "facts": json.dumps(checkpoint.facts)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(safetensors.torch.save(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        ModelFileError: there is no such file, it is damaged, or it is of another format.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no checkpoint to resume from; train without --resume")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a safetensors file is no mapping
        if metadata.get("format") != FORMAT:
            raise ModelFileError(
                f"{path}: not a checkpoint of this version of holdfast; train without --resume"
            )
        facts = json.loads(metadata["facts"])
        if not isinstance(facts, dict):
            raise TypeError(f"its facts are a {type(facts).__name__}")
        return Checkpoint(tensors, facts)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RecursionError, OSError) as error:
        raise ModelFileError(
            f"{path}: the checkpoint is damaged ({error}); delete it and train without --resume"
        ) from None
