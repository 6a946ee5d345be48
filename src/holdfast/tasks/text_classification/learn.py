"""From rows to a trained text classifier: read, split, fit the parts, mix them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.data.duplicates import text_groups, text_hashes
from holdfast.data.split import hold_out, take
from holdfast.data.table import TextTable, read_texts
from holdfast.data.validate import check_enough, training_warnings
from holdfast.errors import ConfigError
from holdfast.features.ngrams import NgramScore, decisions
from holdfast.features.tokens import Tokeniser
from holdfast.nn.network import TextNetwork
from holdfast.tasks.text_classification.lstm_part import Array, Encoded, Watch, log_odds, train_network
from holdfast.tasks.text_classification.model import TextModel, mixture_names, targets_of
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.training.baselines import TfidfLogistic, majority
from holdfast.training.history import EpochRow
from holdfast.training.mixing import Mixture, choose_mixture, full_log_odds
from holdfast.training.scores import data_hash

MANY_TEXTS = 20_000
LONG_TOKENS = 20_000


class Splits(NamedTuple):
    """The rows to learn from, to choose by and to score on; `test` is None where nothing was left for it.

    `lines` say for a person what was read, how it was split, and what to be careful about.
    """

    train: TextTable
    valid: TextTable
    test: TextTable | None
    lines: list[str]


class Learnt(NamedTuple):
    """A trained model and the history of its epochs."""

    model: TextModel
    history: list[EpochRow]


def check_options(options: TextClassificationOptions) -> None:
    """Refuse options that cannot work together, before anything is read.

    Raises:
        ConfigError: both parts are switched off, or no such network can be built.
    """
    if not (options.parts.naive or options.parts.lstm):
        raise ConfigError("parts.naive and parts.lstm are both false: there is nothing to train")
    with torch.device("meta"):
        TextNetwork(options.tokens.vocabulary, 2, options.network)


def read_splits(data: Any, valid: Any, test: Any, options: TextClassificationOptions) -> Splits:
    """Read the rows, check them, and hold out what was not given; the same text is never on two sides.

    Raises:
        DataError: the rows cannot be learnt from; says the file, the row and what to do.
    """
    reading = options.data

    def read(source: Any, role: str, classes: tuple[str, ...] | None = None) -> TextTable:
        table = read_texts(
            source,
            text=reading.text,
            label=reading.label,
            classes=classes,
            label_separator=reading.label_separator,
            encoding=reading.encoding,
        )
        return table if isinstance(source, str | Path) else _called(table, f"the {role} rows")

    train = read(data, "training")
    lines = train.report.lines()
    check_enough(train)
    known = class_names(train)
    test_table = None if test is None else read(test, "test", known)
    valid_table = None if valid is None else read(valid, "validation", known)
    for table in (valid_table, test_table):
        lines += [] if table is None else table.report.lines()
    seed = options.training.seed
    if test_table is None and reading.test_share > 0:
        train, test_table = cut(train, reading.test_share, seed)
    if valid_table is None:
        train, valid_table = cut(train, reading.valid_share, seed)
    parts = {"training": train, "validation": valid_table, "test": test_table}
    sizes = ", ".join(f"{name} {len(table.texts):,}" for name, table in parts.items() if table is not None)
    held = [
        name for name, source in (("validation", valid), ("test", test)) if source is None and parts[name]
    ]
    drawn = f" ({' and '.join(held)} held out of {train.source}; equal texts stay together)" if held else ""
    lines.append(f"rows: {sizes}{drawn}")
    lines += [f"note: {note}" for note in training_warnings(train, valid_table, test_table)]
    return Splits(train, valid_table, test_table, lines)


def _called(table: TextTable, source: str) -> TextTable:
    return replace(table, source=source, report=replace(table.report, source=source))


def cut(table: TextTable, share: float, seed: int) -> tuple[TextTable, TextTable]:
    """`table` without a random `share` of its rows, and those rows; equal texts stay together."""
    assert table.labels is not None
    kept, held = hold_out(table.labels, fraction=share, seed=seed, groups=list(text_groups(table.texts)))
    return take(table, kept), take(table, held)


def class_names(table: TextTable) -> tuple[str, ...]:
    """The sorted names of the classes in `table`."""
    return tuple(sorted(table.report.classes))


def learn(splits: Splits, options: TextClassificationOptions, watch: Watch) -> Learnt:
    """Fit the baseline and both parts on the training rows; mix the parts by the validation rows.

    The test rows are not looked at.

    Args:
        splits: the rows.
        options: everything that can be chosen.
        watch: checkpoint and listener of the LSTM's training.

    Raises:
        TrainingError, TrainingInterrupted: see `training.loop.fit`.
    """
    began = time.monotonic()
    train, valid = splits.train, splits.valid
    classes = class_names(train)
    targets, valid_targets = _targets(train, classes), _targets(valid, classes)
    watch.listener.message("TF-IDF baseline")
    tfidf = TfidfLogistic().fit(
        train.texts,
        targets,
        valid.texts,
        valid_targets,
        multilabel=targets.ndim == 2,
        classes=len(classes),
    )
    naive = None
    if options.parts.naive:
        watch.listener.message("naive part: n-grams")
        naive = _fit_naive(train, valid, classes)
    tokeniser = Tokeniser.fit(train.texts, options.tokens)
    network: TextNetwork | None = None
    history: list[EpochRow] = []
    advice: list[str] = []
    valid_lstm = np.zeros((len(valid.texts), len(classes)))
    if options.parts.lstm:
        watch.listener.message("LSTM part")
        sequences, cut_texts = tokeniser.encode_counting(train.texts)
        _say_longest(sequences, train, watch)
        if cut_texts:
            longest = options.tokens.max_tokens
            watch.listener.message(
                f"{cut_texts:,} training texts are cut after {longest:,} tokens: tokens.max_tokens"
            )
        learning = Encoded(sequences, targets, _row_names(train))
        choosing = Encoded(tokeniser.encode(valid.texts), valid_targets, _row_names(valid))
        network, history, found = train_network(learning, choosing, tokeniser.size, options, watch)
        advice = [one.text for one in found]
        valid_lstm = log_odds(network, choosing.sequences)
    valid_naive = (
        np.zeros_like(valid_lstm)
        if naive is None
        else full_log_odds(naive.log_odds(valid.texts), len(classes))
    )
    model = TextModel(
        classes=classes,
        options=options,
        tokeniser=tokeniser,
        network=network,
        naive=naive,
        tfidf=_calibrated(tfidf.score(), valid.texts, valid_targets),
        mixtures=_mixtures(valid_naive, valid_lstm, valid_targets, (naive is not None, network is not None)),
        prior=majority(targets, len(classes)),
        seen={"train": np.unique(text_hashes(train.texts)), "valid": np.unique(text_hashes(valid.texts))},
        training=_summary(splits, history, time.monotonic() - began) | {"advice": advice},
    )
    return Learnt(model, history)


def _fit_naive(train: TextTable, valid: TextTable, classes: tuple[str, ...]) -> NgramScore:
    return NgramScore.fit(
        train.texts,
        decisions(_targets(train, classes), len(classes)),
        valid.texts,
        decisions(_targets(valid, classes), len(classes)),
        min_count=1 if len(train.texts) < MANY_TEXTS else 2,
    )


def _calibrated(score: NgramScore, texts: Sequence[str], targets: NDArray[Any]) -> NgramScore:
    """`score` at the temperature that validation chooses, as for the model it is compared with."""
    classes = targets.shape[1] if targets.ndim == 2 else max(len(score.bias), 2)
    odds = full_log_odds(score.log_odds(texts), classes)
    factor = np.float32(choose_mixture(odds, odds, targets, use=(True, False)).naive)
    return replace(score, weight=score.weight * factor, bias=score.bias * factor)


def _say_longest(sequences: Sequence[NDArray[np.int32]], table: TextTable, watch: Watch) -> None:
    """Warn of a text so long that what its reading keeps for the gradient is felt in memory."""
    longest = max(range(len(sequences)), key=lambda index: len(sequences[index]))
    if len(sequences[longest]) > LONG_TOKENS:
        watch.listener.message(
            f"{table.source}, row {table.rows[longest]}: {len(sequences[longest]):,} tokens in one text; "
            "memory grows with the longest text, tokens.max_tokens limits it"
        )


def _mixtures(
    naive: Array, lstm: Array, targets: NDArray[Any], used: tuple[bool, bool]
) -> dict[str, Mixture]:
    """The mixture of both parts last, and before it each part alone where both are in use."""
    ways = {"naive": (True, False), "lstm": (False, True), "both": (True, True)}
    return {name: choose_mixture(naive, lstm, targets, use=ways[name]) for name in mixture_names(*used)}


def _summary(splits: Splits, history: list[EpochRow], seconds: float) -> dict[str, Any]:
    """What the model file says about the training."""
    train = splits.train
    summary: dict[str, Any] = {
        "data": Path(train.source).name,
        "train_rows": len(train.texts),
        "valid_rows": len(splits.valid.texts),
        "data_hash": data_hash(train.texts, train.labels),
        "seconds": round(seconds, 1),
        "valid_data": Path(splits.valid.source).name,
        "notes": [line.removeprefix("note: ") for line in splits.lines if line.startswith("note: ")],
    }
    if history:
        summary["epochs"] = len(history)
        summary["best_epoch"] = min(history, key=lambda row: row.valid_loss).epoch
        summary["clipped_share"] = round(sum(row.clipped_share for row in history) / len(history), 4)
    return summary


def _targets(table: TextTable, classes: tuple[str, ...]) -> NDArray[Any]:
    assert table.labels is not None
    return targets_of(table.labels, classes)


def _row_names(table: TextTable) -> list[str]:
    return [f"{table.source}, row {row}" for row in table.rows]
