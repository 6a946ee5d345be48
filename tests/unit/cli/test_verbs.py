"""Every verb of the command line on a small file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars
import pytest
import yaml
from toy_texts import AS_SETTINGS, toy_texts
from typer.testing import Result

import holdfast
from holdfast.tasks.configuration import parse
from holdfast.tasks.text_classification.options import TextClassificationOptions

Call = Callable[..., Result]
PREDICTORS = ["majority", "tfidf", "naive", "lstm", "both"]


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['holdfast', '--help']\n"
        "from holdfast.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'polars', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in ("demo", "init", "train", "evaluate", "predict", "doctor"):
        assert f"  {verb} " in ran.stdout


def test_version(call: Call) -> None:
    assert call("--version").stdout.strip() == holdfast.__version__


def test_train_tells_what_it_read_and_how_good_the_model_is(trained: tuple[Path, Result]) -> None:
    path, result = trained
    assert result.exit_code == 0, result.output
    assert "reviews.csv: 150 rows" in result.stderr
    assert "rows: training 12" in result.stderr
    assert "epoch 3/3: train loss" in result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in PREDICTORS[:3]]
    for name in PREDICTORS:
        assert any(line.startswith(name + " ") for line in lines), name
    assert "the model beats majority by" in result.stdout
    assert f"holdfast predict {path} NEW.csv" in result.stdout
    assert {"README.md", "config.json", "history.csv", "loss.png"} <= {one.name for one in path.iterdir()}
    assert not path.with_name("model.checkpoint").exists()


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_score_table_fits_the_window(
    call: Call, trained: tuple[Path, Result], reviews: Path, width: int
) -> None:
    result = call("evaluate", trained[0], reviews, env={"COLUMNS": str(width)})
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= width
    assert "accuracy" in result.stdout
    assert ("Not shown in this narrow window" in result.stdout) == (width == 50)


def test_evaluate_says_that_it_has_seen_the_rows(
    call: Call, trained: tuple[Path, Result], reviews: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(reviews.read_bytes())
    plain = " ".join(call("evaluate", trained[0], copy).stdout.split())
    assert "the model has seen the text of" in plain


def test_evaluate_as_json(call: Call, trained: tuple[Path, Result], reviews: Path) -> None:
    result = call("evaluate", trained[0], reviews, "--json")
    scores = json.loads(result.stdout)
    assert [row["name"] for row in scores["predictors"]] == PREDICTORS
    assert scores["rows"] == 150
    low, high = scores["given"]["accuracy"]["ci95"]
    assert low <= scores["given"]["accuracy"]["value"] <= high


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.jsonl", "p.jsonl.gz", "p.parquet", "-"])
def test_predict_writes_each_format(
    call: Call, trained: tuple[Path, Result], reviews: Path, tmp_path: Path, name: str
) -> None:
    texts = toy_texts(150)[0]
    out = name if name == "-" else str(tmp_path / name)
    result = call("predict", trained[0], reviews, "-o", out)
    assert result.exit_code == 0, result.output
    content = result.stdout_bytes if name == "-" else Path(out).read_bytes()
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    if ".jsonl" in name:
        rows = [json.loads(line) for line in content.decode().splitlines()]
    elif ".parquet" in name:
        rows = polars.read_parquet(out).to_dicts()
    else:
        rows = list(csv.DictReader(io.StringIO(content.decode())))
    model = holdfast.load(trained[0])
    assert [row["text"] for row in rows] == texts
    assert [int(row["row"]) for row in rows] == list(range(2, 152))
    assert [row["prediction"] for row in rows] == model.predict(texts)
    proba = [[float(row[f"probability_{one}"]) for one in model.classes] for row in rows]
    np.testing.assert_array_equal(np.array(proba), model.predict_proba(texts))


def test_predict_reads_lines_from_standard_input(call: Call, trained: tuple[Path, Result]) -> None:
    result = call("predict", trained[0], "-", input="so good\nso bad\n")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["text"] for row in rows] == ["so good", "so bad"]


def test_init_prints_options_that_train_reads(call: Call) -> None:
    printed = yaml.safe_load(call("init", "text-classification").stdout)
    assert parse(TextClassificationOptions, printed, "test") == TextClassificationOptions()


def test_quiet_prints_the_scores_only(call: Call, reviews: Path, tmp_path: Path) -> None:
    result = call("train", "text-classification", reviews, "-o", tmp_path / "m", "--quiet", *AS_SETTINGS)
    assert result.stderr == ""
    assert "Scores in %" in result.stdout


@contextmanager
def holdfast_process(*words: object) -> Iterator[subprocess.Popen[str]]:
    code = "from holdfast.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process


def test_ctrl_c_leaves_a_checkpoint_and_resume_gives_the_same_bytes(reviews: Path, tmp_path: Path) -> None:
    words = ["train", "text-classification", reviews, *AS_SETTINGS]
    words += ["--set", "epochs=40", "--set", "patience=40", "-o"]
    with holdfast_process(*words, tmp_path / "whole") as whole:
        _, message = whole.communicate(timeout=120)
    assert whole.returncode == 0, message
    with holdfast_process(*words, tmp_path / "stopped") as stopped:
        assert stopped.stderr is not None
        for line in stopped.stderr:
            if line.startswith("epoch 2/"):
                stopped.send_signal(signal.SIGINT)
                break
        message = stopped.stderr.read()
    assert stopped.returncode == 130
    assert "Traceback" not in message
    assert "to go on:\n  holdfast train" in message
    assert "--resume" in message
    assert not (tmp_path / "stopped").exists()
    assert (tmp_path / "stopped.checkpoint").is_file()
    with holdfast_process(*words, tmp_path / "stopped", "--resume") as resumed:
        _, message = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, message
    assert "resumed after epoch" in message
    assert not (tmp_path / "stopped.checkpoint").exists()
    tensors = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert tensors[0] == tensors[1]


def test_a_closed_pipe_ends_quietly(trained: tuple[Path, Result], reviews: Path) -> None:
    with holdfast_process("predict", trained[0], reviews) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_labels_with_a_bar_between_them(call: Call, tmp_path: Path) -> None:
    texts, labels = toy_texts(120)
    path = tmp_path / "several.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((text, f"{label}|all") for text, label in zip(texts, labels, strict=True))
    words = ["train", "text-classification", path, "-o", tmp_path / "m", *AS_SETTINGS]
    result = call(*words, "--set", "label_separator=|", "--set", "lstm=false")
    assert result.exit_code == 0, result.output
    assert "all" in holdfast.load(tmp_path / "m").classes


def test_a_folder_has_no_columns_to_name(call: Call, trained: tuple[Path, Result], tmp_path: Path) -> None:
    texts, labels = toy_texts(120)
    named = tmp_path / "named.csv"
    with named.open("w", newline="") as file:
        csv.writer(file).writerows([("words", "kind"), *zip(texts, labels, strict=True)])
    words = ["train", "text-classification", named, "-o", tmp_path / "m", *AS_SETTINGS, "--set", "lstm=false"]
    assert call(*words, "--text", "words", "--label", "kind").exit_code == 0
    for label in set(labels):
        (tmp_path / "folder" / label).mkdir(parents=True)
        (tmp_path / "folder" / label / "one.txt").write_text("some words")
    assert call("evaluate", tmp_path / "m", tmp_path / "folder").exit_code == 0
    assert call("predict", tmp_path / "m", tmp_path / "folder").exit_code == 0


def test_an_encoding_can_be_given_to_every_verb_that_reads(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("text,label\ncafé,kind0\nnaïve,kind1\n".encode("latin-1"))
    for verb in ("predict", "evaluate"):
        refused = call(verb, trained[0], path)
        assert refused.exit_code == 2
        assert "--encoding" in refused.stderr
        assert call(verb, trained[0], path, "--encoding", "latin-1").exit_code == 0
    assert (
        call("predict", trained[0], "-", "--encoding", "latin-1", input="café\n".encode("latin-1")).exit_code
        == 0
    )
