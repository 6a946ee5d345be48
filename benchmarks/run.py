"""Time the layer beside its peers and write a CSV: `python benchmarks/run.py [--full]`.

Ours and the peer take turns in one process, so that both meet the same machine. Read the ratio: an absolute
time says little about another processor.
"""

from __future__ import annotations

import argparse
import csv
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from registry import Case, Work, cases
from verify import ROOT, contract_holds

import holdfast

COLUMNS = (
    "group",
    "ours",
    "peer",
    "T",
    "B",
    "I",
    "H",
    "directions",
    "ours_ms",
    "peer_ms",
    "ratio",
    "repeats",
    "threads",
    "processor",
    "holdfast",
    "torch",
    "python",
)


def processor() -> str:
    """The processor's name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def time_in_turn(ours: Work, peer: Work, seconds: float) -> tuple[float, float, int]:
    """The median time of each in milliseconds, and how often each ran: at least 5 times, until time is up."""
    ours()
    peer()
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while len(times[0]) < 5 or (time.perf_counter() - began < seconds and len(times[0]) < 1000):
        for work, kept in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            work()
            kept.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1]), len(times[0])


def measure(case: Case, seconds: float) -> dict[str, object]:
    """One row of the CSV."""
    torch.manual_seed(0)
    ours_ms, peer_ms, repeats = time_in_turn(*case.build(case.shape), seconds)
    shape = case.shape
    measured = (ours_ms, peer_ms, peer_ms / ours_ms)
    values = (
        *(case.group, case.ours, case.peer, shape.T, shape.B, shape.I, shape.H, 1 + shape.bidirectional),
        *(f"{value:.4g}" for value in measured),
        *(repeats, torch.get_num_threads(), processor()),
        *(holdfast.__version__, torch.__version__, platform.python_version()),
    )
    return dict(zip(COLUMNS, values, strict=True))


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """The measured rows for a reader, as Markdown."""
    yield "| what | T B I H directions | ours ms | peer ms | peer / ours |"
    yield "|---|---|---|---|---|"
    for row in rows:
        shape = " ".join(str(row[name]) for name in ("T", "B", "I", "H", "directions"))
        what = f"{row['group']}: {row['ours']}, {row['peer']}"
        yield f"| {what} | {shape} | {row['ours_ms']} | {row['peer_ms']} | {row['ratio']} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--tiny", action="store_const", const="tiny", dest="size", help="only to see that it runs"
    )
    size.add_argument("--full", action="store_const", const="full", dest="size", help="every shape; minutes")
    parser.add_argument("--only", default="", help="only the groups whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each comparison")
    parser.add_argument("--output", type=Path, help="the CSV; by default benchmarks/results/layer_<size>.csv")
    options = parser.parse_args()
    size_name = options.size or "quick"
    if not contract_holds():
        print("the contract tests fail: nothing is measured", file=sys.stderr)
        return 1
    torch.set_num_threads(options.threads)
    rows = [measure(case, options.seconds) for case in cases(size_name) if options.only in case.group]
    output = options.output or ROOT / "benchmarks" / "results" / f"layer_{size_name}.csv"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print("\n".join(table(rows)))
    print(f"\n{processor()}, {options.threads} threads, torch {torch.__version__}; written to {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
