"""A text classifier as the inspection sees it: its network, and texts as what enters the first layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.data.table import TextTable
from holdfast.errors import InputError
from holdfast.inspection.step_properties import step_properties
from holdfast.inspection.subject import Reading, Subject
from holdfast.nn.network import TextNetwork
from holdfast.tasks.text_classification.lstm_part import time_major
from holdfast.tasks.text_classification.model import TextModel

MOST_CLASSES = 10


def subject_of(model: TextModel) -> Subject:
    """The LSTM part of a model; its scores are the logits of the classes.

    Raises:
        InputError: the model has no LSTM part.
    """
    return Subject.of(_network(model), model.classes, _scores)


def readings_of(model: TextModel, table: TextTable, chosen: Sequence[int] | None = None) -> list[Reading]:
    """Texts as the first recurrent layer gets them: token vectors without dropout.

    Args:
        model: a model with an LSTM part.
        table: what `model.read` gave.
        chosen: indices into the table's texts; None: all.

    Returns:
        One reading each, named by its file and row; what the tokeniser cut off is missing. A text without
        tokens is read as the unknown word, as in prediction.

    Raises:
        InputError: the model has no LSTM part.
    """
    network = _network(model)
    indices = range(len(table.texts)) if chosen is None else chosen
    sequences = model.tokeniser.encode([table.texts[index] for index in indices])
    return [
        Reading(
            f"{Path(table.source).name}, row {table.rows[index]}",
            tuple(model.tokeniser.tokens(table.texts[index])),
            _vectors(network, time_major([sequence])[0]),
            _target(table, index),
        )
        for index, sequence in zip(indices, sequences, strict=True)
    ]


def properties_of(model: TextModel, readings: Sequence[Reading]) -> dict[str, list[NDArray[Any]]]:
    """Properties of the steps of texts, to find the units that follow them: `inspection.following`.

    Args:
        model: what gives each word its score: the n-gram part, which knows words by the labels of the texts
            they stood in; that of the baseline where the model has none.
        readings: B texts.

    Returns:
        By name, for each text `[T]`: those of `step_properties`, and how much the word alone speaks for a
        class: for the second of two classes, else for each of up to ten.
    """
    found = step_properties([reading.steps for reading in readings])
    words = sorted({step for reading in readings for step in reading.steps})
    scorer = model.naive or model.tfidf
    odds = scorer.log_odds([*words, ""])
    scores = odds[:-1] - odds[-1]
    index = {word: row for row, word in enumerate(words)}
    names = model.classes[1:] if scores.shape[1] == 1 else model.classes
    for column, name in list(enumerate(names))[:MOST_CLASSES]:
        found[f"the word speaks for {name}"] = [
            scores[[index[step] for step in reading.steps], column] for reading in readings
        ]
    return found


def _network(model: TextModel) -> TextNetwork:
    if model.network is None:
        raise InputError("this model was trained with parts.lstm=false: there are no gates to look at")
    return model.network


def _scores(network: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    return cast(TextNetwork, network).scores(x, lengths)


@torch.no_grad()
def _vectors(network: TextNetwork, tokens: Tensor) -> Tensor:
    training = network.training
    vectors: Tensor = network.eval().embedding(tokens)
    network.train(training)
    return vectors


def _target(table: TextTable, index: int) -> str | None:
    if table.labels is None:
        return None
    label = table.labels[index]
    return label if isinstance(label, str) else ", ".join(label)
