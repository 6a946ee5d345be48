"""What a task is: a name, its options, and how to train and to load its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.inspection.material import Material
from holdfast.model_file.format import Bundle
from holdfast.options import Options
from holdfast.training.history import EpochRow
from holdfast.training.progress import Listener
from holdfast.training.scores import ScoreTable


@dataclass(frozen=True)
class Trained:
    """What training gives back.

    Attributes:
        model: ready to predict.
        scores: of the model, its parts and the baselines, on the rows named by `scores.split`.
        history: one row per epoch.
        path: where the model was saved.
    """

    model: Any
    scores: ScoreTable
    history: list[EpochRow]
    path: Path


class TrainFunction(Protocol):
    """Train, score and save; the arguments are those of `holdfast.train`."""

    def __call__(
        self,
        data: Any,
        out: Path,
        valid: Any,
        test: Any,
        options: Any,
        *,
        overwrite: bool,
        resume: bool,
        listener: Listener,
    ) -> Trained: ...


class LoadFunction(Protocol):
    """A model from a bundle whose files have been read and checked."""

    def __call__(self, bundle: Bundle) -> Any: ...


class MaterialFunction(Protocol):
    """What a report of a model is made of; the arguments are those of `inspecting.inspect`."""

    def __call__(
        self,
        model: Any,
        bundle: Bundle,
        data: Any,
        *,
        rows: Sequence[int],
        columns: Mapping[str, str | None],
    ) -> Material: ...


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: as on the command line.
        options: the class of its options.
        train: see `TrainFunction`.
        load: see `LoadFunction`.
        material: see `MaterialFunction`.
    """

    name: str
    options: type[Options]
    train: TrainFunction
    load: LoadFunction
    material: MaterialFunction
