from __future__ import annotations

import pytest
import torch

from holdfast.errors import InputError
from holdfast.lab.jobs import Job, find, parts, plan, run_job, run_jobs
from holdfast.lab.registry import EXPERIMENTS
from holdfast.lab.results import Results
from holdfast.lab.tables import AGREES, rows

QUICK = [job for experiment in EXPERIMENTS.values() for job in plan(experiment, quick=True)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_quick_version_comes_out_as_the_paper_says(name: str) -> None:
    """LSTM solves, RNN does not, in seconds: a network that learns worse fails here."""
    experiment = EXPERIMENTS[name]
    results = Results(name, {job: run_job(job) for job in plan(experiment, quick=True)}, {})
    found = rows(experiment, results)
    expected = [arm for case in experiment.quick for arm in case.arms if arm.expected]
    assert len([row for row in found if row.verdict]) == len(expected)
    assert {row.verdict for row in found} <= {AGREES, ""}, found
    assert expected or name == "variants", "only variants are compared with each other, by their own test"


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_every_case_and_arm_is_named_once(experiment) -> None:
    cases = [case.name for case in (*experiment.cases, *experiment.quick)]
    assert len(set(cases)) == len(cases)
    for case in (*experiment.cases, *experiment.quick):
        arms = [arm.name for arm in case.arms]
        assert len(set(arms)) == len(arms)
        assert {arm.expected for arm in case.arms} <= {"solves", "fails", ""}


def test_a_plan_has_every_arm_of_every_case_with_every_seed() -> None:
    experiment = find("adding")
    jobs = plan(experiment, seeds=2)
    assert len(jobs) == len(set(jobs)) == 2 * sum(len(case.arms) for case in experiment.cases)
    case, arm = parts(experiment, jobs[-1])
    assert (case.name, arm.name, jobs[-1].seed) == ("T = 1000", "rnn", 1)


def test_an_unknown_experiment_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"no experiment .addition.; there are .*adding"):
        find("addition")


def test_a_run_leaves_the_generator_and_the_threads_as_they_were() -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run_job(Job("two-sequences", "T = 50, N = 3", "lstm", 0, quick=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_runs_in_other_processes_give_the_same_numbers() -> None:
    jobs = [Job("two-sequences", "T = 50, N = 3", "lstm", seed, quick=True) for seed in (0, 1)]
    here = dict(run_jobs(jobs, 1))
    elsewhere = dict(run_jobs(jobs, 2))
    assert {job: outcome.curve for job, outcome in here.items()} == {
        job: outcome.curve for job, outcome in elsewhere.items()
    }
