"""Train and score the default text classifier on public data sets, several seeds or folds; write CSV files.

    python benchmarks/text_classification.py --data FOLDER [--only sst2] [--seeds 3] [--set key=value]

FOLDER (or HOLDFAST_DATA) holds imdb/{train,test}.csv.gz, sst2/{train,dev,test}.csv.gz, mr_polarity/mr.csv.gz
with a column `fold` from 0 to 9, and sms_spam/sms.csv.gz with a column `split`. The test rows are only
scored: the configuration is the default one unless --set says otherwise.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from holdfast.tasks import train

Rows = list[dict[str, str]]
RESULTS = Path(__file__).parent / "results"
METRICS = ("accuracy", "f1", "macro_f1", "auroc", "calibration_error")
FIELDS = ("data", "part", "seed", "predictor", "rows", *METRICS, "seconds", "threads", "settings")


class Problem(NamedTuple):
    """One training run: which rows for what; no validation rows means a tenth of the training rows."""

    part: str
    train: Rows
    valid: Rows | None
    test: Rows


def read(path: Path) -> Rows:
    """The records of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def imdb(data: Path) -> Iterator[Problem]:
    """Maas et al. 2011, the official split."""
    yield Problem("official", read(data / "imdb/train.csv.gz"), None, read(data / "imdb/test.csv.gz"))


def sst2(data: Path) -> Iterator[Problem]:
    """Socher et al. 2013, whole sentences only, the official split."""
    yield Problem("official", *(read(data / f"sst2/{name}.csv.gz") for name in ("train", "dev", "test")))


def mr(data: Path) -> Iterator[Problem]:
    """Pang & Lee 2005, ten folds as given."""
    rows = read(data / "mr_polarity/mr.csv.gz")
    for fold in map(str, range(10)):
        rest = [row for row in rows if row["fold"] != fold]
        yield Problem(f"fold {fold}", rest, None, [row for row in rows if row["fold"] == fold])


def sms(data: Path) -> Iterator[Problem]:
    """Almeida et al. 2011, the split in the file."""
    rows = read(data / "sms_spam/sms.csv.gz")
    yield Problem(
        "given",
        *([row for row in rows if row["split"] == "train"], None),
        [row for row in rows if row["split"] == "test"],
    )


SETS = {"sms": (sms, 3), "sst2": (sst2, 3), "mr": (mr, 3), "imdb": (imdb, 1)}


def pair(rows: Rows | None) -> tuple[list[str], list[str]] | None:
    """Texts and labels, as `holdfast.train` takes them."""
    return None if rows is None else ([row["text"] for row in rows], [row["label"] for row in rows])


def run(name: str, problem: Problem, seed: int, settings: list[str]) -> Iterator[dict[str, Any]]:
    """Train once; one result row per predictor."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            "text-classification",
            pair(problem.train),
            Path(folder) / "model",
            valid=pair(problem.valid),
            test=pair(problem.test),
            settings=[*settings, f"training.seed={seed}"],
        )
    seconds = time.monotonic() - began
    for predictor, scores in trained.scores.predictors.items():
        values = {metric: f"{scores[metric].value:.4f}" for metric in METRICS if metric in scores}
        yield {
            "data": name,
            "part": problem.part,
            "seed": seed,
            "predictor": predictor,
            "rows": trained.scores.rows,
            **values,
            "seconds": f"{seconds:.0f}",
            "threads": torch.get_num_threads(),
            "settings": " ".join(settings),
        }


def summary(rows: list[dict[str, Any]]) -> str:
    """Mean scores over the runs of each data set, one line per predictor."""
    lines = []
    for name in dict.fromkeys(row["data"] for row in rows):
        of_set = [row for row in rows if row["data"] == name]
        for predictor in dict.fromkeys(row["predictor"] for row in of_set):
            mine = [row for row in of_set if row["predictor"] == predictor]
            means = "  ".join(
                f"{metric} {statistics.fmean(float(row[metric]) for row in mine):.4f}"
                for metric in METRICS
                if metric in mine[0]
            )
            seconds = statistics.fmean(float(row["seconds"]) for row in mine)
            lines.append(f"{name:6}{predictor:10}{means}  runs {len(mine)}  seconds a run {seconds:.0f}")
    return "\n".join(lines)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows so far; a run that is stopped leaves what it had."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Run what was asked for; each data set has a CSV file of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("HOLDFAST_DATA"), required=False)
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, help="runs with seeds 0, 1, ...; default 3, for imdb 1")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV files")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data FOLDER, or set HOLDFAST_DATA")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        problems, seeds = SETS[name]
        rows: list[dict[str, Any]] = []
        for seed in range(arguments.seeds or seeds):
            for problem in problems(arguments.data):
                rows += run(name, problem, seed, arguments.settings)
                write(arguments.out / f"text_{name}.csv", rows)
                print(summary(rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
