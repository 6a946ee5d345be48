"""The command `holdfast`: its verbs, each of which imports what it needs when it runs."""

from __future__ import annotations

import io
import json
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast.cli.failures import INTERRUPTED, one_message


class Verbs(TyperGroup):
    """The verbs, in the order in which they are needed; a failure of any is one message."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        with one_message():
            return super().invoke(ctx)


app = typer.Typer(
    name="holdfast",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="What is to be done: text-classification.")]
ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help="The directory of a saved model.")]
TextColumn = Annotated[str | None, typer.Option("--text", metavar="COL", help="The column of the texts.")]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Of the text files; without it UTF-8.")
]
LabelColumn = Annotated[str | None, typer.Option("--label", metavar="COL", help="The column of the labels.")]


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """LSTM networks, complete, fast, visible and easy to ship."""
    if version:
        from holdfast import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where the model and the report go.")
    ] = "holdfast-demo",
) -> None:
    """Train on film reviews, score, predict, draw a report."""
    from holdfast.cli.demo import run

    run(out)


@app.command()
def init(task: TaskName) -> None:
    """Print every option with its default and meaning."""
    from holdfast.cli.init import run

    run(task)


@app.command()
def train(
    task: TaskName,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="CSV, TSV, JSONL (also .gz), Parquet, or a folder with one sub-folder per class.",
        ),
    ],
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="MODEL", help="The directory to save the model in.")
    ],
    *,
    valid: Annotated[
        str | None, typer.Option(metavar="D", help="Rows to choose by; without it held out of DATA.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="D", help="Rows to score on; without it held out of DATA.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="F", help="Options as YAML, such as `holdfast init` prints.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One option; may be given often.")
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    encoding: Encoding = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of a stopped run.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the scores only.")] = False,
) -> None:
    """Train a model, score it beside its baselines, and save it."""
    from holdfast.cli.train import TrainCommand, run

    columns = {"text": text, "label": label, "encoding": encoding}
    chosen = tuple(
        f"data.{name}={json.dumps(column)}" for name, column in columns.items() if column is not None
    )
    run(
        TrainCommand(
            task, data, out, valid, test, config, (*(settings or ()), *chosen), resume, overwrite, quiet
        )
    )


@app.command()
def evaluate(
    model: ModelPath,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Rows with labels, as for train.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    text: TextColumn = None,
    label: LabelColumn = None,
    encoding: Encoding = None,
) -> None:
    """Score a model on labelled rows beside its baselines."""
    from holdfast.cli.evaluate import run

    run(model, data, text=text, label=label, encoding=encoding, json_output=json_output)


@app.command()
def predict(
    model: ModelPath,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Rows with texts, as for train; - is standard input, a text a line."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Ends in .csv, .jsonl (also .gz) or .parquet; - is standard output.",
        ),
    ] = "-",
    text: TextColumn = None,
    encoding: Encoding = None,
) -> None:
    """Give each text a class and its probabilities."""
    from holdfast.cli.predict import run

    run(model, data, out, text=text, encoding=encoding)


@app.command()
def inspect(
    model: ModelPath,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Rows as for train; labels are used where there are some.")
    ],
    out: Annotated[
        str,
        typer.Option("-o", "--out", metavar="PAGE", help="The page to write; its numbers stand beside it."),
    ] = "report.html",
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows", metavar="N,N", help="Rows to look at step by step; without it three that say much."
        ),
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    encoding: Encoding = None,
) -> None:
    """Look inside a model: one page of its gates and memory."""
    from holdfast.cli.inspect import run

    run(model, data, out, rows=rows, columns={"text": text, "label": label, "encoding": encoding})


@app.command()
def lab(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="EXPERIMENT", help="Such as adding; none: list them.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every experiment: up to two hours.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Short versions with one seed: seconds.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Seeds of each network; without it as in docs/lab.md."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs at a time; without it one for each core.")
    ] = None,
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="DIR", help="Where the page, numbers and pictures go.")
    ] = "holdfast-lab",
    page: Annotated[
        bool, typer.Option("--page", help="Write the page anew from the numbers in DIR.")
    ] = False,
) -> None:
    """Run the experiments that made the LSTM."""
    from holdfast.cli.lab import LabCommand, run

    run(LabCommand(tuple(names or ()), everything, quick, seeds, jobs, out, page))


@app.command()
def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed and which backends run here."""
    from holdfast.cli.doctor import run

    run(json_output)


def main() -> None:
    """Run the command line; the console script `holdfast`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a window that cannot show a letter shows a question mark
    try:
        app()
    except KeyboardInterrupt:
        print("error: stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
