"""Measure ours beside its peers: `python benchmarks/run.py [--full] [--only GROUP ...]`.

All sides of a case take turns in one process, so that they meet the same machine. Read the ratios: an
absolute time says little about another processor.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from case import Measured
from records import Records, Row, commit, processor
from registry import GROUPS, SIZES, Measurable
from report import publish
from targets import table
from verdicts import shape_of
from verify import ROOT, contract_holds

RESULTS = ROOT / "benchmarks" / "results"


def limit_threads(threads: int) -> None:
    """Torch by its own setting, every other library by what the system lets this process use."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])
    torch.set_num_threads(threads)


def lines(rows: list[Row]) -> str:
    """The rows of a case for a reader."""
    several = len({(row["variant"], *(row[axis] for axis in "TBIH")) for row in rows}) > 1
    names = [row["side"] + (f", {row['variant']} {shape_of(row)}" if several else "") for row in rows]
    width = max(map(len, names), default=0)
    text = []
    for row, name in zip(rows, names, strict=True):
        value, unit = float(row["value"]), row["unit"]
        if unit == "ms" and value < 0.1:
            value, unit = 1000 * value, "us"
        ratio = f"{float(row['ratio']):6.2f} x" if row["ratio"] else ""
        speed = f"{float(row['gflop_s']):6.0f} GFLOP/s" if row["gflop_s"] else ""
        text.append(f"  {name:{width}} {value:10.4g} {unit} {ratio:9} {speed}  {row['detail']}")
    return "\n".join(text)


def reason_against_resuming(records: Records, groups: Iterable[str]) -> str | None:
    """Why cases that are still to be measured do not belong beside those that are; None where they do."""
    for name in groups:
        others = sorted(records.commits(name) - {commit()})
        if others:
            theirs = ", ".join(other or "unknown" for other in others)
            return f"{records.path(name)} has rows of commit {theirs}, and this is {commit() or 'unknown'}"
    return None


def measure_group(name: str, size: str, seconds: float, records: Records, resume: bool) -> list[Row]:
    """Every case of a group; what failed."""
    done = {case for case, _ in records.cases(name)} if resume else set()
    if not done:
        records.start(name)
    failures: list[Row] = []
    for case in GROUPS[name](size):
        if case.name in done:
            print(f"{case.name}: measured before", flush=True)
            continue
        measured = measure_case(case, seconds)
        records.add(name, [*measured.rows, *measured.failures])
        failures += measured.failures
    return failures


def measure_case(case: Measurable, seconds: float) -> Measured:
    began = time.monotonic()
    print(case.name, flush=True)
    measured = case.measure(seconds)
    print(lines(measured.rows), f"  ({time.monotonic() - began:.0f} s)", sep="\n", flush=True)
    return measured


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    for name, meaning in (("tiny", "only to see that it runs"), ("full", "every shape and peer; an hour")):
        size.add_argument(f"--{name}", action="store_const", const=name, dest="size", help=meaning)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out the cases that are in the CSV files, measured at this commit",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, help="time for each side of a case; 0.5, in a full run 2")
    parser.add_argument("--results", type=Path, help="folder of the CSV files; benchmarks/results/SIZE")
    parser.add_argument("--skip-contract", action="store_true", help="when those tests have just passed")
    given = parser.parse_args()
    given.size = given.size or "quick"
    assert given.size in SIZES
    if given.seconds is None:
        given.seconds = {"tiny": 0.0, "quick": 0.5, "full": 2.0}[given.size]
    return given


def main() -> int:
    given = options()
    records = Records(given.results or RESULTS / given.size)
    reason = reason_against_resuming(records, given.only) if given.resume else None
    if reason is not None:
        print(f"cannot resume: {reason}. Measure anew, without --resume", file=sys.stderr)
        return 1
    if not given.skip_contract and not contract_holds():
        print("the contract tests fail: nothing is measured", file=sys.stderr)
        return 1
    limit_threads(given.threads)
    failures: list[Row] = []
    for name in given.only:
        failures += measure_group(name, given.size, given.seconds, records, given.resume)
    machine = f"{processor()}, {given.threads} threads, commit {commit() or 'unknown'}"
    print(f"\n{machine}; written to {records.folder}\n")
    print("\n".join(table(records)))
    if given.size == "full" and given.results is None:
        publish(records)
    for failure in failures:
        print(f"NOT TIMED: {failure['case']}, {failure['side']}: {failure['detail']}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
