"""A text classifier as a saved model, and back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.errors import InputError, ModelFileError
from holdfast.features.ngrams import NgramScore
from holdfast.features.tokens import Tokeniser
from holdfast.model_file import strict_json
from holdfast.model_file.card import model_card
from holdfast.model_file.format import Bundle, expect_tensors, save_bundle
from holdfast.nn.network import TextNetwork
from holdfast.tasks.configuration import parse
from holdfast.tasks.text_classification.lstm_part import new_network
from holdfast.tasks.text_classification.model import TextModel, mixture_names
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.training.history import EpochRow, to_csv
from holdfast.training.mixing import Mixture
from holdfast.training.scores import ScoreTable

TASK = "text-classification"
NETWORK = "network."
SEEN = "seen."
_ROUNDING = 1e-6


def save(
    path: Path,
    model: TextModel,
    *,
    scores: ScoreTable,
    history: Sequence[EpochRow] = (),
    extra: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `model` as a directory; see `docs/format.md`.

    Raises:
        ModelFileError: the place is taken, or cannot be written.
    """
    config = {
        "task": TASK,
        "classes": list(model.classes),
        "prior": model.prior.tolist(),
        "mixtures": {name: dataclasses.asdict(mixture) for name, mixture in model.mixtures.items()},
        "options": json.loads(json.dumps(dataclasses.asdict(model.options))),
        "training": model.training,
    }
    ngrams = {"tfidf": model.tfidf.facts()}
    tensors: dict[str, NDArray[Any]] = model.tfidf.arrays("tfidf")
    tensors |= {SEEN + side: hashes for side, hashes in model.seen.items()}
    if model.naive is not None:
        ngrams["naive"] = model.naive.facts()
        tensors |= model.naive.arrays("naive")
    if model.network is not None:
        tensors |= {NETWORK + name: value.numpy() for name, value in model.network.state_dict().items()}
    metrics = scores.as_dict()
    files: dict[str, str | bytes] = {
        "metrics.json": strict_json.dump(metrics),
        "ngrams.json": strict_json.dump(ngrams),
        "tokenizer.json": model.tokeniser.to_json(),
        "history.csv": to_csv(history),
        "README.md": model_card(config, metrics, verdict=scores.verdict()),
        **(extra or {}),
    }
    return save_bundle(path, config=config, tensors=tensors, files=files, overwrite=overwrite)


def from_bundle(bundle: Bundle) -> TextModel:
    """The model that `save` wrote, with every part checked against every other.

    Raises:
        ModelFileError: something is missing, of the wrong type, or does not fit; names the file.
    """
    config, where = bundle.config, f"{bundle.path}/config.json"
    try:
        options = parse(TextClassificationOptions, config["options"], f"{where}: options")
        if not isinstance(config["classes"], list):
            raise TypeError("classes is no list")
        classes = tuple(config["classes"])
        # by name: config.json keeps its keys in alphabetical order
        saved = {name: config["mixtures"][name] for name in mixture_names(*_parts(options))}
        mixtures = {name: Mixture(_number(m["naive"]), _number(m["lstm"])) for name, m in saved.items()}
        prior = np.array([_number(share) for share in config["prior"]])
        seen = {side: bundle.tensors[SEEN + side] for side in ("train", "valid")}
        training = dict(config["training"])
        tokeniser = Tokeniser.from_json(bundle.files["tokenizer.json"])
        ngrams = strict_json.parse(bundle.files["ngrams.json"], f"{bundle.path}/ngrams.json")
        tfidf = NgramScore.from_saved(ngrams["tfidf"], bundle.tensors, "tfidf")
        naive = (
            NgramScore.from_saved(ngrams["naive"], bundle.tensors, "naive") if options.parts.naive else None
        )
    except InputError as error:
        place = "" if str(bundle.path) in str(error) else f"{bundle.path}: "
        raise ModelFileError(f"{place}{error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"{bundle.path}: the model is incomplete or damaged ({error!r}); copy it again or train it again"
        ) from None
    model = TextModel(classes, options, tokeniser, None, naive, tfidf, mixtures, prior, seen, training)
    _check_fits(model, where)
    if not options.parts.lstm:
        return model
    return dataclasses.replace(model, network=_network(bundle, tokeniser.size, len(classes), options))


def _network(
    bundle: Bundle, vocabulary: int, classes: int, options: TextClassificationOptions
) -> TextNetwork:
    """The network of a bundle; its shapes are checked on torch's meta device before memory is taken."""
    try:
        with torch.device("meta"):
            shell = TextNetwork(vocabulary, classes, options.network)
    except (InputError, RuntimeError, ValueError, TypeError) as error:
        raise ModelFileError(f"{bundle.path}/config.json: no such network can be built: {error}") from None
    expect_tensors(bundle, {NETWORK + name: shape for name, shape in _shapes(shell).items()}, prefix=NETWORK)
    network = new_network(vocabulary, classes, options)
    network.load_state_dict(
        {name: torch.from_numpy(bundle.tensors[NETWORK + name]) for name in _shapes(shell)}
    )
    return network.eval()


def _parts(options: TextClassificationOptions) -> tuple[bool, bool]:
    return options.parts.naive, options.parts.lstm


def _number(value: Any) -> float:
    """A finite number as JSON has it: no text such as "nan", no truth value."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{strict_json.shown(value)} is no finite number")
    return float(value)


def _check_fits(model: TextModel, where: str) -> None:
    classes = len(model.classes)
    columns = {1, classes} if classes == 2 and not model.multilabel else {classes}
    scores = [score for score in (model.tfidf, model.naive) if score is not None]
    fits = (
        classes >= 1
        and all(isinstance(name, str) for name in model.classes)
        and sorted(set(model.classes)) == list(model.classes)
        and model.prior.shape == (classes,)
        and bool(((model.prior >= 0) & (model.prior <= 1)).all())
        and (model.multilabel or math.isclose(model.prior.sum(), 1, abs_tol=_ROUNDING))
        and bool(model.mixtures)
        and all(min(dataclasses.astuple(mixture)) >= 0 for mixture in model.mixtures.values())
        and all(len(score.bias) in columns for score in scores)
        and all(hashes.dtype == np.int64 and hashes.ndim == 1 for hashes in model.seen.values())
    )
    if not fits:
        raise ModelFileError(
            f"{where}: {classes} classes, the prior {strict_json.shown(model.prior.tolist())}, mixtures "
            f"{sorted(model.mixtures)}, the n-gram scores and the seen texts do not fit together; take a "
            "fresh copy or train the model again"
        )


def _shapes(network: TextNetwork) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}
