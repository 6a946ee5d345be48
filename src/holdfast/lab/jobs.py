"""Runs of experiments, several at a time, each in a process with one thread."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import torch

from holdfast.errors import InputError
from holdfast.lab.experiment import Arm, Case, Experiment, Outcome
from holdfast.lab.registry import EXPERIMENTS


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        experiment: its name.
        case: its name.
        arm: its name.
        seed: from 0.
        quick: whether the case is one of the short ones.
    """

    experiment: str
    case: str
    arm: str
    seed: int
    quick: bool = False


def find(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        InputError: there is none; lists those that there are.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def plan(experiment: Experiment, *, quick: bool = False, seeds: int | None = None) -> list[Job]:
    """Every run of an experiment: each arm of each case with each seed.

    Args:
        experiment: whose cases are run.
        quick: the short cases, with one seed each.
        seeds: how many seeds; None: as many as the experiment reports.
    """
    cases: Sequence[Case] = experiment.quick if quick else experiment.cases
    most = seeds if seeds is not None else 1 if quick else experiment.seeds
    return [
        Job(experiment.name, case.name, arm.name, seed, quick)
        for case in cases
        for arm in case.arms
        for seed in range(most)
    ]


def run_job(job: Job) -> Outcome:
    """One run, with one thread: the same bits for the same job, whatever else runs."""
    experiment = find(job.experiment)
    case, arm = parts(experiment, job)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return experiment.run(case, arm, job.seed)
    finally:
        torch.set_num_threads(threads)


def parts(experiment: Experiment, job: Job) -> tuple[Case, Arm]:
    """The case and the arm of a job."""
    cases = experiment.quick if job.quick else experiment.cases
    case = next(case for case in cases if case.name == job.case)
    return case, case.arm(job.arm)


def run_jobs(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Outcome]]:
    """Run jobs, several at a time; each is given back with its outcome when it is done.

    Args:
        jobs: what to run, begun in this order.
        processes: how many at a time; with 1 they run in this process.
    """
    if processes == 1:
        for job in jobs:
            yield job, run_job(job)
        return
    # spawned, since a fork would share the threads and the random state of this process
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        started = {pool.submit(run_job, job): job for job in jobs}
        try:
            for done in as_completed(started):
                yield started[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
