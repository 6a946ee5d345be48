"""What an experiment is: the lines of a paper's table, who takes part, and how one run goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from holdfast.lab.results import Results

SOLVES, FAILS = "solves", "fails"


@dataclass(frozen=True)
class Arm:
    """One network that takes part.

    Attributes:
        name: as in tables: `"lstm"`, `"rnn"`, `"peephole"`, ...
        expected: what the paper says of it in this case: `"solves"`, `"fails"`, or "" where it says nothing.
        budget: after how many sequences (or whatever the experiment counts) a run is given up.
    """

    name: str
    expected: str
    budget: int


@dataclass(frozen=True)
class Case:
    """One line of a paper's table.

    Attributes:
        name: such as `"T = 1000"`.
        paper: what the paper reports, in words: `"853,000 sequences, 1 of 2560 wrong"`.
        arms: who takes part.
        settings: what the task is drawn from, such as `{"steps": 1000}`.
        paper_sequences: how many sequences the paper's LSTM needed; None where it says nothing.
    """

    name: str
    paper: str
    arms: tuple[Arm, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    paper_sequences: int | None = None

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        solved: whether the paper's criterion was met within the budget.
        sequences: consumed until then, or until the run was given up.
        score: the final test in words, such as `"1 of 2560 wrong"`.
        numbers: the same and more as numbers: `{"wrong": 1, "tested": 2560}`.
        curve: how the error fell: `(sequences, error)`.
        weights: how many numbers the network learnt.
        seconds: wall time of the run on one core.
    """

    solved: bool
    sequences: int
    score: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[tuple[float, float], ...] = ()
    weights: int = 0
    seconds: float = 0.0


RunFunction = Callable[[Case, Arm, int], Outcome]


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        name: as on the command line: `"adding"`.
        title: as a heading.
        source: paper and section.
        question: one or two sentences: what is asked of the network, and why it is hard.
        criterion: when a run counts as solved, in words.
        ours: how our networks learn, where that differs from the paper, in words.
        cases: the lines of the table.
        quick: a short version for tests and first looks; it must still be able to fail.
        run: one run: a case, one of its arms and a seed.
        seeds: how many seeds each arm of each case is run with (0, 1, ...).
        counts: what `Outcome.sequences` counts.
        error: what the vertical axis of a curve shows.
        note: where our results disagree with the paper's, and anything that a reader must know.
        picture: draws the results where curves of an error are not what tells; None: curves.
    """

    name: str
    title: str
    source: str
    question: str
    criterion: str
    ours: str
    cases: tuple[Case, ...]
    quick: tuple[Case, ...]
    run: RunFunction
    seeds: int = 3
    counts: str = "sequences"
    error: str = "mean error of the last 2,000 training sequences"
    note: str = ""
    picture: Callable[[Experiment, Results], Figure] | None = None
