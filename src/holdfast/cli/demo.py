"""`holdfast demo`: the whole way on the bundled film reviews, from a file to a model and a report."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.consoles import command
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

SENTENCES = (
    "a warm , funny and wonderfully acted film that i will gladly see again",
    "the plot makes no sense and the jokes fall flat",
    "it is not a bad film , and the ending is quite moving",
    "two hours of my life that nobody will ever give back to me",
    "the actors try hard , but the story never comes to life",
)
DRAWN = SENTENCES[2]
LABELS = {"0": "negative", "1": "positive"}
REVIEWS, MODEL, REPORT, PAGE = "movie_reviews.csv", "model", "report.png", "report.html"
NUMBERS = "report.json"
FILES = frozenset({REVIEWS, MODEL, REPORT, PAGE, NUMBERS, f"{MODEL}.checkpoint"})
BAR_WIDTH = 20


def run(out: str) -> None:
    """Train on the bundled film reviews with the default options and show what came out.

    Args:
        out: the directory of the demo; one of an earlier demo is replaced.

    Raises:
        ConfigError: the directory holds something else.
        TrainingInterrupted, KeyboardInterrupt: says by which command to go on.
    """
    from holdfast.cli import consoles
    from holdfast.cli.score_table import print_scores
    from holdfast.cli.train import TrainCommand, watched
    from holdfast.inspection.plots import report_picture
    from holdfast.tasks.inspecting import inspect

    folder = Path(out)
    reviews = reviews_csv()
    check_folder(folder, reviews)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / REVIEWS, reviews)
    request = TrainCommand("text-classification", str(folder / REVIEWS), str(folder / MODEL), overwrite=True)
    trained = watched(request)
    write_whole(folder / REPORT, report_picture(trained.history, trained.model.trace(DRAWN)))
    with consoles.progress().status("looking inside") as status:
        inspect(folder / MODEL, str(folder / REVIEWS), folder / PAGE, told=status.update)
    console = consoles.results()
    print_scores(console, trained.scores)
    print_predictions(console, trained.model)
    print_next(console, folder)


def reviews_csv() -> bytes:
    """The bundled reviews as a CSV file with the columns text and label: negative or positive."""
    import csv
    import io

    from holdfast.data.bundled import movie_reviews
    from holdfast.data.table import read_texts

    table = read_texts(movie_reviews())
    assert table.labels is not None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("text", "label"))
    writer.writerows(
        (words, LABELS[str(label)]) for words, label in zip(table.texts, table.labels, strict=True)
    )
    return text.getvalue().encode()


def check_folder(folder: Path, reviews: bytes) -> None:
    """Refuse a folder that holds anything but an earlier demo.

    Raises:
        ConfigError: names what is there.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a directory for the demo with --out")
    present = {entry.name for entry in folder.iterdir()}
    if not present:
        return
    ours = (folder / REVIEWS).is_file() and (folder / REVIEWS).read_bytes() == reviews
    strange = min(present - FILES, default="" if ours else min(present))
    if strange:
        raise ConfigError(
            f"{folder} holds {strange!r}, which is not of an earlier demo; nothing there is touched: "
            "give another directory with --out"
        )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is never half there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def print_predictions(console: Console, model: Any) -> None:
    """What the model says of the new sentences, with a bar as long as the probability of positive."""
    console.print()
    console.print("Five sentences that it has never seen", style="bold")
    positive = model.classes.index("positive")
    full, empty = ("█", "░") if console.encoding.startswith("utf") else ("#", ".")
    for sentence, name, row in zip(
        SENTENCES, model.predict(SENTENCES), model.predict_proba(SENTENCES), strict=True
    ):
        length = round(BAR_WIDTH * row[positive])
        style = "green" if name == "positive" else "red"
        console.print(sentence)
        bar = full * length + empty * (BAR_WIDTH - length)
        console.print(f"  {bar} {100 * row[positive]:.0f} % positive: {name}", style=style)


def print_next(console: Console, folder: Path) -> None:
    """What lies where, and what to type next."""
    model = shlex.quote(str(folder / MODEL))
    reviews = shlex.quote(str(folder / REVIEWS))
    console.print()
    console.print("To look at", style="bold")
    console.print(f"  {folder / REPORT}", soft_wrap=True)
    console.print("    every epoch's loss, and the gates over the third sentence's words")
    console.print(f"  {folder / PAGE}", soft_wrap=True)
    console.print(
        "    inside the LSTM, in a browser: which word turned it, how far back it remembers, and more"
    )
    console.print(f"  {folder / MODEL / 'README.md'}", soft_wrap=True)
    console.print("    the model card: scores, baselines, data, options")
    console.print(f"  {folder / REVIEWS}", soft_wrap=True)
    console.print("    the data, as your own could look: Pang and Lee 2005, CC BY 4.0")
    console.print("To do next", style="bold")
    program = shlex.quote(command())
    for line in (
        f"echo 'a film of your own' | {program} predict {model} -",
        f"{program} train text-classification {reviews} -o my-model --set epochs=2",
        f"{program} train text-classification YOUR.csv -o your-model",
    ):
        console.print(f"  {line}", soft_wrap=True)
