"""`holdfast lab`: the classic experiments, run and set beside what the papers report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from holdfast.cli import consoles
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from holdfast.lab.experiment import Experiment, Outcome
    from holdfast.lab.jobs import Job
    from holdfast.lab.page import Notebook
    from holdfast.lab.results import Results
    from holdfast.lab.tables import Row

SECONDS_IN_MINUTE = 60
WIDE = 100


class LabCommand(NamedTuple):
    """What was asked for.

    Attributes:
        names: of experiments; none: list them.
        all: every experiment.
        quick: the short versions, one seed each.
        seeds: how many seeds; None: as many as the experiment reports.
        jobs: runs at a time; None: one for each core.
        out: the directory of the page, the results and the pictures.
        page: write the page anew from the results that are there, and run nothing.
    """

    names: tuple[str, ...]
    all: bool = False
    quick: bool = False
    seeds: int | None = None
    jobs: int | None = None
    out: str = "holdfast-lab"
    page: bool = False


def run(request: LabCommand) -> None:
    """Run experiments and show what came out.

    Raises:
        InputError: no such experiment, or a file of the directory holds something else.
        ConfigError: options that contradict each other.
    """
    from holdfast.lab.jobs import cores, find, plan
    from holdfast.lab.page import PAGE, Notebook
    from holdfast.lab.registry import EXPERIMENTS
    from holdfast.lab.results import Results

    console = consoles.results()
    notebook = Notebook(Path(request.out))
    experiments = [find(name) for name in (EXPERIMENTS if request.all else request.names)]
    _check(request, experiments, notebook)
    if request.page:
        notebook.write_page()
        print_written(console, notebook.path / PAGE)
    elif not experiments:
        print_list(console)
    if not experiments:
        return
    jobs = [job for found in experiments for job in plan(found, quick=request.quick, seeds=request.seeds)]
    left = {found.name: sum(job.experiment == found.name for job in jobs) for found in experiments}
    results = {found.name: Results(found.name) for found in experiments}
    for job, outcome in watched(jobs, request.jobs or cores()):
        results[job.experiment].outcomes[job] = outcome
        left[job.experiment] -= 1
        if not left[job.experiment]:
            notebook.write(results[job.experiment])
            print_results(console, find(job.experiment), results[job.experiment])
    print_written(console, notebook.path / PAGE)


def _check(request: LabCommand, experiments: Sequence[Experiment], notebook: Notebook) -> None:
    """Refuse what contradicts itself, and what would replace a long run by a short one."""
    if request.all and request.names:
        raise ConfigError(f"--all runs every experiment; leave out {' '.join(request.names)}, or --all")
    if not experiments and not request.page and (request.quick or request.seeds or request.jobs):
        raise ConfigError("which experiment? name an experiment, or --all; `holdfast lab` lists them")
    present = {results.experiment: results for results in notebook.read()}
    if request.page and not present:
        raise ConfigError(f"{request.out} holds no results of the lab to write a page of; run an experiment")
    for found in experiments:
        if request.quick and found.name in present and not present[found.name].quick:
            raise ConfigError(
                f"{request.out} holds the runs of the whole {found.name}, which the short version would "
                "replace; give another directory with -o"
            )


def watched(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Outcome]]:
    """The runs with their outcomes; progress goes to standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from holdfast.lab.jobs import run_jobs

    console = consoles.progress()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(jobs))
        for done, (job, outcome) in enumerate(run_jobs(jobs, processes), 1):
            bar.advance(task)
            minutes = (time.monotonic() - started) / SECONDS_IN_MINUTE
            found = "solved" if outcome.solved else "not solved"
            console.print(
                f"{done} of {len(jobs)}, {minutes:.1f} min: {job.experiment}, {job.case}, {job.arm}, "
                f"seed {job.seed}: {found} after {outcome.sequences:,}; {outcome.score}"
            )
            yield job, outcome


def print_list(console: Console) -> None:
    """Every experiment, its source and what to type."""
    from rich.table import Table

    from holdfast.lab.registry import EXPERIMENTS

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("experiment", "what it asks", "from"):
        table.add_column(heading, overflow="fold")
    for found in EXPERIMENTS.values():
        table.add_row(found.name, found.title, found.source)
    console.print(table)
    program = consoles.command()
    console.print()
    console.print(f"  {program} lab {next(iter(EXPERIMENTS))}", soft_wrap=True)
    console.print("    runs it as the paper did, a plain RNN beside it: minutes")
    console.print(f"  {program} lab {next(iter(EXPERIMENTS))} --quick", soft_wrap=True)
    console.print("    a short version: seconds")
    console.print(f"  {program} lab --all", soft_wrap=True)
    console.print("    everything, and one page of it: up to two hours on two cores")


def print_results(console: Console, experiment: Experiment, results: Results) -> None:
    """The table of one experiment, as wide as the window."""
    from holdfast.lab.tables import rows

    found = rows(experiment, results)
    console.print()
    console.print(experiment.title, style="bold")
    console.print(f"{experiment.source}. Solved when {experiment.criterion}.")
    _print_wide(console, experiment, found) if console.width >= WIDE else _print_narrow(console, found)
    if experiment.note:
        console.print(experiment.note)


def _print_wide(console: Console, experiment: Experiment, found: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("", "the paper", "", "solved", experiment.counts, "final test", ""):
        table.add_column(heading, overflow="fold")
    previous = ""
    for row in found:
        known = (row.case, row.paper) if row.case != previous else ("", "")
        cells = (*known, row.arm, row.solved, row.consumed, row.scores, row.verdict)
        table.add_row(*(Text(cell) for cell in cells))
        previous = row.case
    console.print(table)


def _print_narrow(console: Console, found: Sequence[Row]) -> None:
    previous = ""
    for row in found:
        if row.case != previous:
            console.print(f"{row.case}: the paper: {row.paper}")
        console.print(f"  {row.arm}: solved {row.solved}, consumed {row.consumed}; {row.scores}")
        if row.verdict:
            console.print(f"    {row.verdict}")
        previous = row.case


def print_written(console: Console, path: Path) -> None:
    """Where the page lies."""
    console.print()
    console.print(f"written: {path}", soft_wrap=True)
