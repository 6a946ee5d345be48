"""A trained model: strange texts, long texts, traces, and scores on new rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_texts import TINY, toy_several, toy_texts

from holdfast.errors import DataError, InputError
from holdfast.tasks import train
from holdfast.tasks.text_classification.lstm_part import log_odds, torch_threads
from holdfast.tasks.text_classification.model import TextModel, mixture_names, targets_of


def small(folder: Path, data: Any = None, **options: Any) -> TextModel:
    model = train(
        "text-classification", toy_texts() if data is None else data, folder / "model", **{**TINY, **options}
    ).model
    assert isinstance(model, TextModel)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return small(tmp_path_factory.mktemp("base"), window=16, layers=2, min_count=1)


@pytest.fixture(scope="module")
def naive_alone(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return small(tmp_path_factory.mktemp("naive"), lstm=False)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return small(tmp_path_factory.mktemp("several"), toy_several(), label_separator="|")


STRANGE = ["", " \t\n", "xyzzy plugh", "!!!", "\0", "\ud800", "е́ 漢字 🙂", "word0 " * 300, "w" * 10_000]


def test_any_text_has_a_prediction(model: TextModel, naive_alone: TextModel, several: TextModel) -> None:
    for one in (model, naive_alone, several):
        probabilities = one.predict_proba(STRANGE)
        assert probabilities.shape == (len(STRANGE), len(one.classes))
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
    # no known word: what the model says about no words at all
    np.testing.assert_allclose(*naive_alone.predict_proba(["", "xyzzy plugh"]), rtol=1e-12)
    np.testing.assert_allclose(*model.predict_proba(["", "\t"]), rtol=1e-6)


def test_no_texts_no_predictions(model: TextModel, several: TextModel) -> None:
    assert model.predict_proba([]).shape == (0, 2)
    assert model.predict([]) == []
    assert several.predict_proba([]).shape == (0, 3)


def test_a_text_does_not_depend_on_the_others(model: TextModel) -> None:
    texts = [*toy_texts(30, seed=4)[0], *STRANGE]
    together = model.predict_proba(texts)
    alone = np.concatenate([model.predict_proba([text]) for text in texts])
    # float32 products of matrices of another size
    np.testing.assert_allclose(alone, together, atol=2e-6)
    np.testing.assert_allclose(model.predict_proba(texts[::-1]), together[::-1], atol=2e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "got one text; give a list of texts"),
        (["a", None], r"text 1 is NoneType \(None\)"),
        (["a", "b", 3], r"text 2 is int \(3\)"),
        ([b"bytes"], "text 0 is bytes"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(model: TextModel, texts: Any, message: str) -> None:
    for function in (model.predict, model.predict_proba):
        with pytest.raises(InputError, match=message):
            function(texts)


def test_the_most_probable_class_is_predicted(model: TextModel, several: TextModel) -> None:
    texts = toy_texts(20, seed=4)[0]
    best = model.predict_proba(texts).argmax(1)
    assert model.predict(texts) == [model.classes[k] for k in best]
    assert several.names(np.array([[0.6, 0.4, 0.51], [0.5, 0.1, 0.2]])) == [("kind0", "kind2"), ("kind0",)]


def test_a_long_text_is_read_window_by_window(model: TextModel) -> None:
    """5,000 words through the network's own layers, 16 at a time, by hand."""
    generator = np.random.default_rng(0)
    words = list(model.tokeniser.vocabulary)
    ids = model.tokeniser.encode([" ".join(generator.choice(words, 5000))])[0]
    assert len(ids) >= 5000
    network = model.network
    assert network is not None
    with torch.no_grad():
        x = network.embedding(torch.from_numpy(ids.astype(np.int64))[:, None])
        for layer in network.encoder.layers:
            state, outputs = None, []
            for start in range(0, len(ids), 16):
                output, (h, c) = layer(x[start : start + 16], state)
                h[1:], c[1:] = 0, 0
                state = (h, c)
                outputs.append(output)
            x = torch.cat(outputs)
        logits = network.head(torch.cat([x.amax(0), x.mean(0)], dim=-1)).numpy()
    np.testing.assert_allclose(log_odds(network, [ids]), logits, rtol=1e-4, atol=1e-5)  # float32
    assert np.isfinite(model.predict_proba(["word0 the " * 2500])).all()


@pytest.mark.parametrize("text", ["the film was word0", "", "xyzzy", "the film word1 " * 20])
def test_a_trace_shows_every_token_and_value(model: TextModel, text: str) -> None:
    trace = model.trace(text)
    steps = len(trace.tokens)
    assert steps == len(model.tokeniser.encode([text])[0]) >= 1
    assert set(trace.values) == {"i", "f", "g", "o", "c", "h"}
    for value in trace.values.values():
        assert value.shape == (2, 2, steps, 5)
        assert value.dtype == np.float32
    assert trace.probabilities.tobytes() == model.predict_proba([text])[0].tobytes()
    assert trace.classes == model.classes
    for gate in "ifo":
        assert ((trace.values[gate] > 0) & (trace.values[gate] < 1)).all()


def test_the_trace_is_what_decides(model: TextModel) -> None:
    """The head on the pooled last layer of a trace longer than a window gives the network's logits."""
    text = "the film was word0 and the plot " * 10
    assert model.network is not None
    last = model.trace(text).values["h"][-1]
    steps = torch.from_numpy(np.concatenate(list(last), axis=-1))
    logits = model.network.head(torch.cat([steps.amax(0), steps.mean(0)])).detach().numpy()
    expected = log_odds(model.network, model.tokeniser.encode([text]))[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["peephole", "rnn"])
def test_traces_of_other_cells(tmp_path: Path, cell: str) -> None:
    one = small(tmp_path, cell=cell, bidirectional=False, epochs=1)
    assert one.network is not None
    names = set(one.network.encoder.layers[0].cell.values) if cell == "peephole" else {"h"}
    trace = one.trace("the film was word0")
    assert {value.shape for value in trace.values.values()} == {(1, 1, 4, 5)}
    assert names <= set(trace.values)


def test_a_model_without_network_has_no_trace(naive_alone: TextModel) -> None:
    with pytest.raises(InputError, match=r"parts\.lstm=false"):
        naive_alone.trace("a film")


def test_a_trace_is_of_one_text(model: TextModel) -> None:
    with pytest.raises(InputError, match="trace reads one text, got list"):
        model.trace(["a film"])  # type: ignore[arg-type]


def test_evaluating_scores_new_rows(model: TextModel) -> None:
    data = toy_texts(60, seed=8)
    table = model.evaluate(data, split="fresh")
    assert (table.split, table.rows) == ("fresh", 60)
    assert list(table.predictors) == ["majority", "tfidf", "naive", "lstm", "both"]
    right = np.mean([found == label for found, label in zip(model.predict(data[0]), data[1], strict=True)])
    assert table.predictors["both"]["accuracy"].value == pytest.approx(right)
    assert table.predictors["majority"]["accuracy"].value == 0.5


def test_evaluating_repeats_the_scores_of_training(tmp_path: Path) -> None:
    test = toy_texts(40, seed=8)
    result = train("text-classification", toy_texts(), tmp_path / "model", test=test, **TINY)
    again = result.model.evaluate(test)
    assert again.predictors == result.scores.predictors
    assert again.data_hash == result.scores.data_hash


def test_evaluating_an_unknown_label_names_its_row(model: TextModel) -> None:
    with pytest.raises(DataError, match="kind7"):
        model.evaluate((["a film", "a plot"], ["kind0", "kind7"]))


def test_evaluating_several_labels(several: TextModel) -> None:
    table = several.evaluate(toy_several(50, seed=3))
    assert {"exact_match", "micro_f1"} <= set(table.predictors["both"])


def test_the_last_mixture_is_the_model() -> None:
    assert mixture_names(True, True) == ("naive", "lstm", "both")
    assert mixture_names(True, False) == ("naive",)
    assert mixture_names(False, True) == ("lstm",)
    assert mixture_names(False, False) == ()


def test_targets() -> None:
    classes = ("a", "b", "c")
    assert targets_of(["c", "a"], classes).tolist() == [2, 0]
    assert targets_of([("c", "a"), ()], classes).tolist() == [[True, False, True], [False] * 3]


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1 == 1 / 0
    assert torch.get_num_threads() == before
    with torch_threads(0):
        assert torch.get_num_threads() == before
