"""Saved text classifiers that are damaged or hostile are refused in one line, before memory is taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_texts import TINY, toy_several, toy_texts

from holdfast.errors import ModelFileError
from holdfast.model_file.format import Bundle, load_bundle, save_bundle
from holdfast.tasks import load, train
from holdfast.tasks.text_classification import saved


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("good") / "model"
    train("text-classification", toy_texts(classes=3), path, **{**TINY, "epochs": 1})
    return load_bundle(path)


def changed(bundle: Bundle, path: Path, change: Callable[[Any, Any, Any], None]) -> Path:
    """A copy of the model after `change(config, tensors, ngrams)`."""
    config, tensors = copy.deepcopy(bundle.config), dict(bundle.tensors)
    files = dict(bundle.files)
    ngrams = json.loads(files["ngrams.json"])
    change(config, tensors, ngrams)
    files["ngrams.json"] = json.dumps(ngrams)
    save_bundle(path, config=config, tensors=tensors, files=files)
    return path


def test_a_copy_without_a_change_loads(bundle: Bundle, tmp_path: Path) -> None:
    texts = toy_texts(20)[0]
    model = load(changed(bundle, tmp_path / "model", lambda config, tensors, ngrams: None))
    assert model.predict_proba(texts).tobytes() == load(bundle.path).predict_proba(texts).tobytes()
    assert model.network.training is False


def put(part: str, *path: Any, value: Any) -> Callable[[Any, Any, Any], None]:
    def change(config: Any, tensors: Any, ngrams: Any) -> None:
        place = {"config": config, "tensors": tensors, "ngrams": ngrams}[part]
        for key in path[:-1]:
            place = place[key]
        if value is REMOVED:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


REMOVED = object()
OPTIONS = ("config", "options")
HUGE = 10**400
CHANGES: dict[str, Callable[[Any, Any, Any], None]] = {
    **{
        f"no {key}": put("config", key, value=REMOVED)
        for key in ("classes", "prior", "mixtures", "options", "training")
    },
    **{
        f"{key} is {value!r}": put("config", key, value=value)
        for key in ("classes", "prior", "mixtures", "options", "training")
        for value in (None, 3, "abc", [1, 2], [[]])
        if not (key == "training" and value == [[]])
    },
    **{
        f"no mixture {name}": put("config", "mixtures", name, value=REMOVED)
        for name in ("naive", "lstm", "both")
    },
    "half a mixture": put("config", "mixtures", "both", "lstm", value=REMOVED),
    "mixture without number": put("config", "mixtures", "both", "lstm", value="much"),
    "negative mixture": put("config", "mixtures", "both", "lstm", value=-1.0),
    "endless mixture": put("config", "mixtures", "both", "lstm", value=HUGE),
    "too few classes": put("config", "classes", value=["kind0", "kind1"]),
    "too many classes": put("config", "classes", value=["a", "b", "c", "d"]),
    "no class": put("config", "classes", value=[]),
    "a class twice": put("config", "classes", value=["a", "b", "b"]),
    "a class that is no text": put("config", "classes", value=["a", "b", 3]),
    "a prior of two": put("config", "prior", value=[0.5, 0.5]),
    "a nested prior": put("config", "prior", value=[[0.3], [0.3], [0.4]]),
    "an endless prior": put("config", "prior", value=[0.5, 0.5, HUGE]),
    **{
        f"prior {value!r}": put("config", "prior", value=value)
        for value in (
            [5, -3, -1],
            ["nan", "1", "0"],
            ["0.3", "0.3", "0.4"],
            [True, False, False],
            [0.5, 0.5, 0.5],
            [0, 0, 0],
            [1.5, -0.25, -0.25],
            "123",
        )
    },
    **{
        f"{name} weight {value!r}": put("config", "mixtures", "both", name, value=value)
        for name in ("naive", "lstm")
        for value in ("nan", "inf", "1", True, None, [1.0], -0.001)
    },
    "swapped classes": put("config", "classes", value=["kind1", "kind0", "kind2"]),
    "no seen texts": put("tensors", "seen.train", value=REMOVED),
    "seen texts of another type": put("tensors", "seen.train", value=np.zeros(3, np.float32)),
    "seen texts of another shape": put("tensors", "seen.valid", value=np.zeros((3, 1), np.int64)),
    "unknown option": put(*OPTIONS, "network", "colour", value="red"),
    "unknown group": put(*OPTIONS, "colours", value={}),
    "option of another type": put(*OPTIONS, "network", "hidden", value="many"),
    "option out of range": put(*OPTIONS, "network", "layers", value=0),
    "unknown cell": put(*OPTIONS, "network", "cell", value="gruu"),
    "no pooling": put(*OPTIONS, "network", "pooling", value=[]),
    "other pooling": put(*OPTIONS, "network", "pooling", value=["max"]),
    "other width": put(*OPTIONS, "network", "hidden", value=6),
    "more layers": put(*OPTIONS, "network", "layers", value=2),
    "one direction": put(*OPTIONS, "network", "bidirectional", value=False),
    "several labels": put(*OPTIONS, "parts", "naive", value="yes, no"),
    "no part at all": put(*OPTIONS, "parts", value={"naive": False, "lstm": False}),
    "huge network": put(*OPTIONS, "network", value={"hidden": 65_536, "embedding": 65_536, "layers": 16}),
    "endless network": put(*OPTIONS, "network", "hidden", value=HUGE),
    "no tensor": put("tensors", "network.head.weight", value=REMOVED),
    "tensor of another shape": put("tensors", "network.head.bias", value=np.zeros(4, np.float32)),
    "tensor nothing needs": put("tensors", "network.backdoor", value=np.zeros(4, np.float32)),
    "no n-gram weights": put("tensors", "naive.weight", value=REMOVED),
    "n-gram weights of another shape": put("tensors", "tfidf.weight", value=np.zeros((3, 1), np.float32)),
    "n-gram bias of two": put("tensors", "naive.bias", value=np.zeros(2, np.float32)),
    "no baseline": put("ngrams", "tfidf", value=REMOVED),
    "no naive part": put("ngrams", "naive", value=REMOVED),
    "n-grams that are none": put("ngrams", "naive", value=[]),
    "endless n-grams": put("ngrams", "naive", "longest", value=HUGE),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_fit_is_refused_before_a_network_is_made(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(saved, "new_network", lambda *arguments: pytest.fail("a network was made"))
    path = changed(bundle, tmp_path / "model", CHANGES[name])
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["ngrams.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, "", "{", "[]", "3", "null", "NaN"])
def test_a_damaged_file_is_refused(bundle: Bundle, tmp_path: Path, name: str, content: str | None) -> None:
    path = changed(bundle, tmp_path / "model", lambda config, tensors, ngrams: None)
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_text(content)
    with pytest.raises(ModelFileError):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"tfidf": {', '"tfidf": {}, "tfidf": {', "the key 'tfidf' appears twice"),
        ('"longest": 2', '"longest": 2, "more": NaN', "NaN is not a JSON number"),
        ('"longest": 2', '"longest": 2, "more": 1e999', "too large"),
        ('"longest": 2', '"longest": 2, "more": ' + "[" * 200 + "]" * 200, "levels deep"),
    ],
)
def test_ngrams_are_read_strictly(bundle: Bundle, tmp_path: Path, old: str, new: str, says: str) -> None:
    path = changed(bundle, tmp_path / "model", lambda config, tensors, ngrams: None)
    content = (path / "ngrams.json").read_text()
    assert old in content
    (path / "ngrams.json").write_text(content.replace(old, new, 1))
    with pytest.raises(ModelFileError, match=says) as caught:
        load(path)
    assert "ngrams.json" in str(caught.value)


def test_the_prior_of_several_labels_need_not_sum_to_one(tmp_path: Path) -> None:
    path = tmp_path / "several"
    train("text-classification", toy_several(), path, **{**TINY, "epochs": 1, "label_separator": "|"})
    bundle = load_bundle(path)
    assert sum(bundle.config["prior"]) != pytest.approx(1)
    load(path)
    with pytest.raises(ModelFileError, match="prior"):
        load(changed(bundle, tmp_path / "model", put("config", "prior", value=[0.5, 0.5, 1.5])))


def test_a_tokeniser_of_another_size_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = train(
        "text-classification", toy_texts(), tmp_path / "other", **{**TINY, "epochs": 1, "min_count": 1}
    )
    path = changed(bundle, tmp_path / "model", lambda config, tensors, ngrams: None)
    (path / "tokenizer.json").write_text((other.path / "tokenizer.json").read_text())
    with pytest.raises(ModelFileError, match=r"network\.embedding\.weight"):
        load(path)


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "README.md"])
def test_what_prediction_does_not_need_may_be_missing(bundle: Bundle, tmp_path: Path, name: str) -> None:
    path = changed(bundle, tmp_path / "model", lambda config, tensors, ngrams: None)
    (path / name).unlink()
    assert load(path).predict(["word0"])
