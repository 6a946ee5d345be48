"""The page of the lab: every experiment's question, table and picture, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.inspection.canvas import png
from holdfast.lab.experiment import Experiment
from holdfast.lab.pictures import curves_figure
from holdfast.lab.registry import EXPERIMENTS
from holdfast.lab.results import Results
from holdfast.lab.tables import Row, rows

COLOURS = 64
PAGE, FOLDER = "lab.md", "lab"
HEADER = ("", "network", "solved", "consumed", "final test", "weights", "")


class Notebook:
    """A directory with the page `lab.md`, and in `lab/` the results and the picture of each experiment.

    Args:
        path: the directory; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, results: Results) -> None:
        """Keep the results of an experiment, draw its picture, and write the page anew."""
        folder = self.path / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        experiment = EXPERIMENTS[results.experiment]
        results.save(folder / f"{experiment.name}.json")
        draw = experiment.picture or curves_figure
        _write_whole(folder / f"{experiment.name}.png", png(draw(experiment, results), COLOURS))
        self.write_page()

    def write_page(self) -> None:
        """Write the page from the results that are there."""
        _write_whole(self.path / PAGE, page(self.read()).encode())

    def read(self) -> list[Results]:
        """The results that are there, in the order of the experiments.

        Raises:
            InputError: a file holds something else.
        """
        paths = (self.path / FOLDER / f"{name}.json" for name in EXPERIMENTS)
        return [Results.load(path) for path in paths if path.is_file()]


def page(all_results: Sequence[Results]) -> str:
    """The whole page as Markdown."""
    parts = [_introduction(all_results), _overview(all_results)]
    parts += [_section(EXPERIMENTS[results.experiment], results) for results in all_results]
    return "\n\n".join(parts) + "\n"


def _introduction(all_results: Sequence[Results]) -> str:
    hours = sum(outcome.seconds for results in all_results for outcome in results.outcomes.values()) / 3600
    runs = sum(len(results.outcomes) for results in all_results)
    processors = dict.fromkeys(results.conditions["processor"] for results in all_results)
    return f"""# The lab: the experiments that made the LSTM

Written by `holdfast lab --all -o docs`: {runs} runs, {hours:.1f} hours of one core of
{", ".join(processors)}. `holdfast lab adding` runs one experiment and `holdfast lab` lists them all. The
numbers of each run lie in [lab/](lab), a JSON file for each experiment.

The tasks, the criteria and the size of the tests are the papers'. How the networks learn is ours: Adam on
small batches where the papers took one sequence at a time, and first weights of today. So fewer sequences do
not say that the cell has changed, but that it learns the task from less; the plain RNN learns in the same way
beside it. Where nothing else is said, every sequence is fresh, and is judged before it is learnt. *Consumed*
is the median over the seeds that solved it (least to most). In the pictures, a dot is where a run met the
paper's criterion, and the dotted line is what the paper's network needed.

*Agrees* compares who solves a task, and how soon; how exact the final test is stands beside it, and notes say
where it is worse than the paper's. For the plain RNN it means that it fails, as the papers say of recurrent
networks without memory cells over such lags, also where a table of theirs does not list one."""


def _overview(all_results: Sequence[Results]) -> str:
    lines = ["| experiment | case | the paper | | solved | consumed | |", "|---|---|---|---|---:|---:|---|"]
    for results in all_results:
        experiment = EXPERIMENTS[results.experiment]
        last = ("", "")
        for row in rows(experiment, results):
            title = f"[{experiment.title}](#{_anchor(experiment.title)})" if last == ("", "") else ""
            known = (row.case, row.paper) if row.case != last[1] else ("", "")
            cells = (title, *known, row.arm, row.solved, row.consumed, row.verdict)
            lines.append(_line(cells))
            last = (experiment.title, row.case)
    return "\n".join(lines)


def _section(experiment: Experiment, results: Results) -> str:
    table = [_line(HEADER), "|---|---|---:|---:|---|---:|---|"]
    previous = ""
    for row in rows(experiment, results):
        if row.case != previous:
            table.append(_line((f"**{row.case}**; the paper: {row.paper}", *[""] * (len(HEADER) - 1))))
        table.append(_line(_cells(row)))
        previous = row.case
    picture = f"{experiment.title}: {experiment.error} over {experiment.counts}, run by run"
    parts = [
        f"## {experiment.title}",
        f"{experiment.question}\n*{experiment.source}.*",
        (
            f"Solved when {experiment.criterion}. Learning: {experiment.ours}. "
            f"*Consumed* counts {experiment.counts}."
        ),
        "\n".join(table),
        f"![{picture}]({FOLDER}/{experiment.name}.png)",
    ]
    return "\n\n".join([*parts, experiment.note] if experiment.note else parts)


def _cells(row: Row) -> tuple[str, ...]:
    return ("", row.arm, row.solved, row.consumed, row.scores, row.weights, row.verdict)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _anchor(title: str) -> str:
    """The anchor that Markdown pages give a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is never half there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_bytes(content)
    beside.replace(path)
