"""Tasks: from a raw file to a saved, scored model, and from a saved model to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.model_file.format import load_bundle
from holdfast.tasks.configuration import configure
from holdfast.tasks.loading import TASKS, find_task, task_of
from holdfast.tasks.task import Trained
from holdfast.training.progress import Listener

__all__ = ["TASKS", "find_task", "load", "train"]


def train(
    task: str,
    data: Any,
    out: str | Path,
    *,
    valid: Any = None,
    test: Any = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
    **options: Any,
) -> Trained:
    """Train a model, score it beside its baselines, and save it.

    Args:
        task: the name of a task: `"text-classification"`.
        data: a file, a folder with one sub-folder per class, a data frame, or a pair `(texts, labels)`.
        out: the directory of the saved model; it must not hold anything else.
        valid: rows that choose the epoch and the mixture; None: held out of `data`.
        test: rows that only give the score; None: held out of `data` (`test_share=0`: the score is then of
            the validation rows, and says so).
        config: a YAML file such as `holdfast init` prints.
        settings: options as texts, `"network.hidden=64"`.
        overwrite: whether a model already at `out` is replaced.
        resume: go on from the checkpoint of a run that was stopped.
        listener: told of every stage, step and epoch, such as a progress bar.
        **options: options by name: `epochs=3`, or by group: `network={"hidden": 64}`.

    Returns:
        The model, its scores, its history and where it was saved.

    Raises:
        InputError: the data, an option or the place is wrong; nothing is left half-written.
        TrainingError: the loss became infinite or undefined.
        TrainingInterrupted: the user stopped it; a checkpoint was left beside `out`.

    Example:
        >>> trained = train("text-classification", "reviews.csv", "model")  # doctest: +SKIP
        >>> trained.model.predict(["what a film"])  # doctest: +SKIP
        ['positive']
    """
    found = find_task(task)
    chosen = configure(found.options, file=config, settings=settings, values=options)
    return found.train(
        data,
        Path(out),
        valid,
        test,
        chosen,
        overwrite=overwrite,
        resume=resume,
        listener=listener or Listener(),
    )


def load(path: str | Path) -> Any:
    """The saved model at `path`, ready to predict.

    Args:
        path: the directory that `train` made.

    Returns:
        The task's model; for text classification a `TextModel` with `predict` and `predict_proba`.

    Raises:
        ModelFileError: there is no model, or it is damaged, hostile, or of a newer version.
    """
    bundle = load_bundle(path)
    return task_of(bundle).load(bundle)
