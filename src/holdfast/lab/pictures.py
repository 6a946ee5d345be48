"""The picture of an experiment: how the errors fell, run by run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from holdfast.inspection.canvas import GREY, SERIES, new_figure
from holdfast.lab.experiment import Case, Experiment
from holdfast.lab.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_A_ROW = 3
PANEL_INCHES = (3.4, 2.7)
TITLE_CHARACTERS = 44


def curves_figure(experiment: Experiment, results: Results) -> Figure:
    """How the error of every run fell with what it consumed, a panel for each case; dots: solved.

    Args:
        experiment: whose cases are drawn.
        results: of its runs.
    """
    cases = [
        case
        for case in (*experiment.cases, *experiment.quick)
        if any(outcome.curve for arm in case.arms for outcome in results.of(case.name, arm.name))
    ]
    columns = min(PANELS_A_ROW, max(1, len(cases)))
    count = -(-len(cases) // columns) or 1
    figure = new_figure(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * count + 0.3)
    grid = figure.subplots(count, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(cases):
            axes.set_visible(False)
            continue
        _draw(axes, experiment, cases[index], results)
        if index % columns == 0:
            axes.set_ylabel("\n".join(textwrap.wrap(experiment.error, 28)), fontsize=8)
    grid.flat[0].legend(frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, experiment: Experiment, case: Case, results: Results) -> None:
    for place, arm in enumerate(case.arms):
        colour = SERIES[place % len(SERIES)]
        for seed, outcome in enumerate(results.of(case.name, arm.name)):
            if not outcome.curve:
                continue
            consumed, errors = zip(*outcome.curve, strict=True)
            label = arm.name if seed == 0 else None
            axes.plot(consumed, errors, color=colour, linewidth=1.2, alpha=0.85, label=label)
            if outcome.solved:
                axes.plot(consumed[-1], errors[-1], "o", color=colour, markersize=5)
    if case.paper_sequences is not None:
        axes.axvline(case.paper_sequences, color=GREY, linestyle=":", label="the paper's LSTM")
    axes.set_xscale("log")
    axes.set_title("\n".join(textwrap.wrap(case.name, TITLE_CHARACTERS)), fontsize=9, loc="left")
    axes.set_xlabel(experiment.counts, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.tick_params(axis="x", which="minor", labelbottom=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
