"""Results of an experiment as a file: every run, and what it ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from holdfast._version import __version__
from holdfast.errors import InputError
from holdfast.lab.experiment import Outcome
from holdfast.lab.jobs import Job


@dataclass(frozen=True)
class Summary:
    """The runs of one arm of one case.

    Attributes:
        runs: how many.
        solved: how many of them met the criterion.
        sequences: what they consumed: the median, the least and the most, over the solved runs where there
            are any, else over all.
        scores: their final tests in words, by seed.
        weights: how many numbers the network learns.
        seconds: the sum.
    """

    runs: int
    solved: int
    sequences: tuple[float, int, int]
    scores: tuple[str, ...]
    weights: int
    seconds: float


class Results:
    """The outcomes of an experiment.

    Args:
        experiment: its name.
        outcomes: by job.
        conditions: what they ran on; None: this version on this machine.
    """

    def __init__(
        self,
        experiment: str,
        outcomes: Mapping[Job, Outcome] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        self.experiment = experiment
        self.outcomes = dict(outcomes or {})
        self.conditions = dict(conditions or _conditions())

    def of(self, case: str, arm: str) -> list[Outcome]:
        """The outcomes of one arm of one case, by seed."""
        jobs = sorted(
            (job for job in self.outcomes if (job.case, job.arm) == (case, arm)), key=lambda job: job.seed
        )
        return [self.outcomes[job] for job in jobs]

    def summary(self, case: str, arm: str) -> Summary | None:
        """The runs of one arm of one case together; None where there are none."""
        outcomes = self.of(case, arm)
        if not outcomes:
            return None
        counted = [o.sequences for o in outcomes if o.solved] or [o.sequences for o in outcomes]
        return Summary(
            len(outcomes),
            sum(o.solved for o in outcomes),
            (median(counted), min(counted), max(counted)),
            tuple(o.score for o in outcomes),
            max(o.weights for o in outcomes),
            sum(o.seconds for o in outcomes),
        )

    @property
    def quick(self) -> bool:
        """Whether these are runs of the short version."""
        return all(job.quick for job in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "experiment": self.experiment,
            "conditions": self.conditions,
            "runs": [_run(job, outcome) for job, outcome in self.outcomes.items()],
        }

    def save(self, path: Path) -> None:
        """Write a JSON file that is never half there, a run on each line."""
        saved = self.as_dict()
        runs = ",\n".join(json.dumps(run, sort_keys=True, separators=(",", ":")) for run in saved.pop("runs"))
        head = json.dumps(saved, sort_keys=True, indent=1).removesuffix("\n}")
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        beside.write_text(f'{head},\n "runs": [\n{runs}\n]}}\n', encoding="utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """What `save` wrote.

        Raises:
            InputError: the file is something else.
        """
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            outcomes = {_job(run): _outcome(run) for run in saved["runs"]}
            return cls(saved["experiment"], outcomes, saved["conditions"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no results of the lab ({error!r}); run the experiment again") from None


def _run(job: Job, outcome: Outcome) -> dict[str, Any]:
    """A run; its curve to four digits, its time to tenths of a second."""
    curve = [[consumed, float(f"{error:.4g}")] for consumed, error in outcome.curve]
    return asdict(job) | asdict(outcome) | {"curve": curve, "seconds": round(outcome.seconds, 1)}


def _job(run: Mapping[str, Any]) -> Job:
    return Job(run["experiment"], run["case"], run["arm"], run["seed"], run["quick"])


def _outcome(run: Mapping[str, Any]) -> Outcome:
    return Outcome(
        run["solved"],
        run["sequences"],
        run["score"],
        run["numbers"],
        tuple((float(consumed), float(error)) for consumed, error in run["curve"]),
        run["weights"],
        run["seconds"],
    )


def _conditions() -> dict[str, str]:
    return {
        "holdfast": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def _processor() -> str:
    """What the processor calls itself, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
