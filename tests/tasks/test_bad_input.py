"""A wall of bad input through the command line: one clear message, exit status 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input import BAD_INPUT, BadInput
from toy_texts import AS_SETTINGS, TINY, toy_texts
from typer.testing import CliRunner, Result

from holdfast.cli.main import app
from holdfast.tasks import train

GOOD = "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(*toy_texts(60), strict=True))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result: Result, folder: Path, before: set[Path], says: tuple[str, ...]) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    messages = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1, result.stderr
    for words in says:
        assert words in result.stderr, result.stderr
    assert set(folder.rglob("*")) == before, "something was left behind"


TRAINABLE = [case for case in BAD_INPUT if "classes" not in case.options]


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda case: case.name)
def test_bad_data_is_refused_by_train(case: BadInput, tmp_path: Path) -> None:
    data = case.make(tmp_path)
    words = [f"--set=data.{name}={json.dumps(value)}" for name, value in case.options.items()]
    before = set(tmp_path.rglob("*"))
    result = run("train", "text-classification", data, "-o", tmp_path / "model", *AS_SETTINGS, *words)
    refused(result, tmp_path, before, ())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "model"
    train("text-classification", toy_texts(120), path, **TINY)
    return path


def cut_tensors(model: Path) -> None:
    tensors = model / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])


def huge_tensor(model: Path) -> None:
    header = {"network.head.bias": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    content = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + bytes(64))


def change_config(**values: object) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def huge_network(model: Path) -> None:
    path = model / "config.json"
    config = json.loads(path.read_text())
    config["options"]["network"] |= {"hidden": 60_000, "layers": 16}
    path.write_text(json.dumps(config))


def binary_model(model: Path) -> None:
    (model / "config.json").write_bytes(bytes(range(256)) * 10)


DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a truncated bundle": (cut_tensors, ("model.safetensors",)),
    "a bundle that declares a huge tensor": (huge_tensor, ("model.safetensors",)),
    "a bundle whose options ask for a huge network": (huge_network, ("model.safetensors",)),
    "a newer format": (change_config(format_version=99), ("99", "newer holdfast")),
    "another task": (change_config(task="weather"), ("weather",)),
    "no classes": (change_config(classes=[]), ("config.json",)),
    "a binary config": (binary_model, ("config.json",)),
    "no config": (lambda path: (path / "config.json").unlink(), ("config.json",)),
    "no tokenizer": (lambda path: (path / "tokenizer.json").unlink(), ("tokenizer.json",)),
    "n-grams that are no JSON": (lambda path: (path / "ngrams.json").write_text("{"), ("ngrams.json",)),
    "no model at all": (shutil.rmtree, ("model",)),
}


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_is_refused(model: Path, tmp_path: Path, name: str, verb: str) -> None:
    damage, says = DAMAGE[name]
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    damage(copy)
    data = tmp_path / "good.csv"
    data.write_text(GOOD)
    before = set(tmp_path.rglob("*"))
    refused(run(verb, copy, data), tmp_path, before, says)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    refused(run("predict", path, path), tmp_path, {path}, ("good.csv",))


COMMANDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "an unknown task": (["train", "text-clasification", "good.csv", "-o", "new"], ("Did you mean",)),
    "an unknown cell": (["--set", "cell=lstmm"], ("lstmm", "lstm")),
    "an unknown option": (["--set", "hiden=3"], ("hiden", "network.hidden")),
    "a setting without a value": (["--set", "hidden"], ("group.key=value",)),
    "a setting of the wrong type": (["--set", "hidden=many"], ("network.hidden", "many")),
    "a setting out of range": (["--set", "epochs=0"], ("epochs is 0", "at least 1")),
    "nothing to train": (["--set", "naive=false", "--set", "lstm=false"], ("nothing to train",)),
    "no such configuration": (["--config", "no.yaml"], ("no.yaml", "holdfast init")),
    "a configuration with an unknown key": (["--config", "wrong.yaml"], ("wrong.yaml", "hiden")),
    "a configuration that is no text": (["--config", "binary.yaml"], ("binary.yaml",)),
    "a text column that is not there": (["--text", "review"], ("review", "text")),
    "one column for both": (["--text", "label", "--label", "label"], ("label",)),
    "an unknown label in the test file": (["--test", "other.csv"], ("other.csv", "row 3", "kind2")),
    "no checkpoint to resume from": (["--resume"], ("no checkpoint", "without --resume")),
    "a place that holds something else": (["-o", "full"], ("full", "notes.txt")),
    "a place that is a file": (["-o", "good.csv"], ("good.csv", "file")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_command_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "other.csv").write_text("text,label\nsome words,kind0\nother words,kind2\n")
    (tmp_path / "wrong.yaml").write_text("network:\n  hiden: 3\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    words, says = COMMANDS[name]
    if words[0] != "train":
        words = [
            "train",
            "text-classification",
            "good.csv",
            *([] if "-o" in words else ["-o", "new"]),
            *words,
        ]
    refused(run(*words), tmp_path, set(tmp_path.rglob("*")), says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "out.xlsx"], (".csv", ".parquet")),
        (["-o", "good.csv"], ("input itself",)),
        (["-o", "nowhere/out.csv"], ("nowhere",)),
        (["--text", "review"], ("review",)),
    ],
)
def test_a_wrong_prediction_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: tuple[str, ...]
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    refused(run("predict", model, "good.csv", *words), tmp_path, set(tmp_path.rglob("*")), says)


@pytest.mark.parametrize(
    "words",
    [["train"], ["predict", "nowhere", "x.csv"], ["train", "text-classification", "x.csv", "-o", "m"]],
)
def test_in_a_process_of_its_own(tmp_path: Path, words: list[str]) -> None:
    code = "from holdfast.cli.main import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.iterdir())
