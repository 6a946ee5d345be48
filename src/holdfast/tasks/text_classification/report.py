"""What a report of a text classifier is made of: which rows, and what the model says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.data.duplicates import text_hashes
from holdfast.data.table import TextTable
from holdfast.errors import DataError
from holdfast.inspection.material import ChosenRow, Material, evenly
from holdfast.inspection.report import MEASURED_ROWS, check_rows
from holdfast.model_file.format import Bundle
from holdfast.tasks.text_classification.inspect import properties_of, readings_of, subject_of
from holdfast.tasks.text_classification.lstm_part import log_odds
from holdfast.tasks.text_classification.model import TextModel, targets_of
from holdfast.training.history import from_csv
from holdfast.training.mixing import probabilities as as_probabilities

MOST_SCORED = 2000
FEWEST_CALIBRATED = 100
"""Of rows that the model has not learnt by heart; below, one answer moves the picture by more than 1 %."""
FEW_STEPS, MANY_STEPS = 6, 60
SUREST_RIGHT, SUREST_WRONG, LEAST_SURE, SUREST = (
    "right, and the surest of the {} rows looked at",
    "wrong, and the surest of the {} rows looked at",
    "the least sure of the {} rows looked at",
    "the surest of the {} rows looked at",
)
ASKED = "the row you asked for"


def material_of(
    model: TextModel,
    bundle: Bundle,
    data: Any,
    *,
    rows: Sequence[int] = (),
    columns: Mapping[str, str | None] | None = None,
) -> Material:
    """Everything that a report needs to know of a text classifier.

    Args:
        model: with an LSTM part.
        bundle: what it was loaded from.
        data: whatever `holdfast.train` takes; labels are used where there are some.
        rows: numbers of rows to look at step by step; none: the surest right one, the surest wrong one and
            the least sure one, of those that are new to it and have 6 to 60 steps, if any.
        columns: names of columns, as `TextModel.read` takes them.

    Raises:
        InputError: the model has no LSTM part, or there is no such row.
        DataError: the rows cannot be used.
    """
    subject = subject_of(model)
    table = _table(model, data, columns or {})
    asked = check_rows(rows, table.rows, table.source)
    scored = sorted({*evenly(len(table.texts), MOST_SCORED).tolist(), *asked})
    probabilities = model.predict_proba([table.texts[index] for index in scored])
    labels = None if table.labels is None else [table.labels[index] for index in scored]
    targets = None if labels is None else targets_of(labels, model.classes)
    learnt = np.isin(text_hashes([table.texts[index] for index in scored]), model.seen["train"])
    calibrated = _calibrated(learnt, targets)
    chosen = dict.fromkeys(asked, ASKED)
    if not chosen:
        steps = [
            len(sequence) for sequence in model.tokeniser.encode([table.texts[index] for index in scored])
        ]
        chosen = {
            scored[place]: because
            for place, because in choose(probabilities, targets, np.array(steps), learnt).items()
        }
    advice = model.training.get("advice")
    overall = evenly(len(table.texts), MEASURED_ROWS).tolist()
    readings = readings_of(model, table, overall)
    return Material(
        title=f"{Path(bundle.path).resolve().name}: text classification",
        facts=_facts(model, table, learnt, calibrated is not None or targets is None),
        subject=subject,
        readings=readings,
        chosen=[
            ChosenRow(
                reading,
                because,
                _says(model, probabilities[scored.index(index)]),
                _part_says(model, table.texts[index]),
            )
            for (index, because), reading in zip(
                chosen.items(), readings_of(model, table, list(chosen)), strict=True
            )
        ],
        properties=properties_of(model, readings),
        probabilities=None if calibrated is None else probabilities[calibrated],
        targets=None if calibrated is None or targets is None else targets[calibrated],
        history=from_csv(bundle.files["history.csv"]) if "history.csv" in bundle.files else [],
        advice=None if advice is None else [str(text) for text in advice],
        exclusive=not model.multilabel,
    )


def choose(
    probabilities: NDArray[Any],
    targets: NDArray[Any] | None,
    steps: NDArray[np.int64],
    learnt: NDArray[np.bool_] | None = None,
) -> dict[int, str]:
    """Rows that are worth a look, and why: the surest right and wrong one, and the least sure.

    Args:
        probabilities: `[N, K]`.
        targets: `[N]`, or `[N, K]` bool; None where labels are not known.
        steps: how long each row is, `[N]`.
        learnt: whether the model was trained on it, `[N]`; the others are preferred. None: on none.
    """
    sure = (
        np.abs(probabilities - 0.5).min(1)
        if targets is not None and targets.ndim == 2
        else probabilities.max(1)
    )
    handy = (steps >= FEW_STEPS) & (steps <= MANY_STEPS)
    unseen = np.ones(len(steps), bool) if learnt is None or learnt.all() else ~learnt
    among = handy & unseen if (handy & unseen).any() else unseen
    if targets is None:
        found = {int(np.where(among, sure, -1).argmax()): SUREST}
    else:
        right = (
            ((probabilities >= 0.5) == targets).all(1)
            if targets.ndim == 2
            else probabilities.argmax(1) == targets
        )
        found = {
            int(np.where(among & part, sure, -1).argmax()): because
            for part, because in ((right, SUREST_RIGHT), (~right, SUREST_WRONG))
            if (among & part).any()
        }
    found.setdefault(int(np.where(among, sure, np.inf).argmin()), LEAST_SURE)
    return {index: because.format(f"{among.sum():,}") for index, because in found.items()}


def _table(model: TextModel, data: Any, columns: Mapping[str, Any]) -> TextTable:
    """The rows, with their labels where they have them."""
    try:
        return model.read(data, **columns)
    except DataError:
        if columns.get("label") is not None:
            raise
        unlabelled = {name: column for name, column in columns.items() if name != "label"}
        return model.read(data, **unlabelled, need_labels=False)


def _says(model: TextModel, row: NDArray[Any]) -> str:
    if model.multilabel:
        (names,) = model.names(row[None])
        return ", ".join(names) or "no label"
    best = int(row.argmax())
    return f"{model.classes[best]}, {row[best]:.0%}"


def _part_says(model: TextModel, text: str) -> str:
    """What the network says by the very scores that are explained, where there is another part beside it."""
    if model.naive is None or model.network is None:
        return ""
    scores = log_odds(model.network, model.tokeniser.encode([text]))
    return _says(model, as_probabilities(scores, multilabel=model.multilabel)[0])


def _calibrated(learnt: NDArray[np.bool_], targets: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    """The rows that show how sure the model is of what it has not learnt; None where there are too few."""
    unseen = ~learnt
    return unseen if targets is not None and (unseen.all() or unseen.sum() >= FEWEST_CALIBRATED) else None


def _facts(model: TextModel, table: TextTable, learnt: NDArray[np.bool_], calibrated: bool) -> dict[str, str]:
    trained = f"{model.training.get('train_rows', '?')} rows of {model.training.get('data', '?')}"
    among = f"{learnt.sum():,} of these {len(learnt):,} rows"
    left_out = {} if calibrated else {"calibration": f"left out: {among} were trained on"}
    network = model.options.network
    directions = 2 if network.bidirectional else 1
    return {
        "cell": network.cell,
        "layers x directions x units": f"{network.layers} x {directions} x {network.hidden}",
        "classes": ", ".join(model.classes[:10]) + (" ..." if len(model.classes) > 10 else ""),
        "rows": f"{len(table.texts):,} of {Path(table.source).name}",
        "trained on": f"{trained}; {among} are among them",
        **left_out,
    }
