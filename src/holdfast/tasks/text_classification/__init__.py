"""Text classification: sentiment, topics, spam; one label per text, or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import ConfigError
from holdfast.inspection.plots import loss_picture
from holdfast.model_file.format import check_target
from holdfast.tasks.task import Task, Trained
from holdfast.tasks.text_classification.learn import check_options, learn, read_splits
from holdfast.tasks.text_classification.lstm_part import Watch
from holdfast.tasks.text_classification.model import TextModel, TextTrace
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.tasks.text_classification.report import material_of
from holdfast.tasks.text_classification.saved import TASK, from_bundle, save
from holdfast.training.probe_files import PROBES_FILE, csv_beside, probe_beside, written_probes
from holdfast.training.progress import Listener

__all__ = ["TEXT_CLASSIFICATION", "TextClassificationOptions", "TextModel", "TextTrace"]


def _train(
    data: Any,
    out: Path,
    valid: Any,
    test: Any,
    options: TextClassificationOptions,
    *,
    overwrite: bool,
    resume: bool,
    listener: Listener,
) -> Trained:
    check_options(options)
    check_target(out, overwrite=overwrite)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.exists() and not (resume or overwrite):
        raise ConfigError(
            f"{checkpoint} is left from a run that was stopped: go on with --resume, or delete it"
        )
    probe = probe_beside(out, options.probes)
    splits = read_splits(data, valid, test, options)
    listener.read(splits.lines)
    model, history = learn(splits, options, Watch(checkpoint, resume, listener, probe))
    listener.message("scoring")
    table, split = (splits.valid, "valid") if splits.test is None else (splits.test, "test")
    scores = model.score(table, split=split)
    extra = {"loss.png": loss_picture(history), **written_probes(out, options.probes)} if history else {}
    path = save(out, model, scores=scores, history=history, extra=extra, overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    if PROBES_FILE in extra:
        csv_beside(out).unlink()
    return Trained(model, scores, history, path)


TEXT_CLASSIFICATION = Task(TASK, TextClassificationOptions, _train, from_bundle, material_of)
