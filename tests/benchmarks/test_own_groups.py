"""What the groups on documents, long sequences and threads count, and the time limit of what is compiled."""

from __future__ import annotations

import gzip
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import ours
import peers
import pytest
import torch
from groups import memory, ragged, recompute
from peers import torch_loops
from peers.time_limit import limited
from problem import Problem, Shape, Side, Work, make
from same_numbers import computed, differences
from threads import on_threads


def test_drawn_lengths_are_like_imdbs() -> None:
    lengths = ragged.drawn_lengths(20_000)
    assert np.median(lengths) == pytest.approx(174, rel=0.03)
    assert lengths.mean() == pytest.approx(230, rel=0.03)
    assert (lengths.min() >= 1, lengths.max()) == (True, 1000)
    assert np.array_equal(lengths[:50], ragged.drawn_lengths(20_000)[:50])


def test_imdbs_own_lengths_are_taken_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imdb").mkdir()
    with gzip.open(tmp_path / "imdb/train.csv.gz", "wt", encoding="utf-8") as file:
        file.write("label,text\n")
        for count in range(1, 1026):
            file.write(f'0,"{"word, " * count}"\n')
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    lengths = ragged.imdb_lengths(tmp_path)
    assert lengths[:3].tolist() == [1, 2, 3]
    assert lengths.max() == 1000
    assert ragged.some(lengths, 3).tolist() == [1, 513, 1000]
    names = [case.name for case in ragged.cases("quick")]
    assert names == ["32 rows, in file order, IMDB's lengths", "32 rows, sorted, IMDB's lengths"]
    problems = [next(iter(case.entries())).problem for case in ragged.cases("quick")]
    in_file, ordered = (problem.lengths for problem in problems)
    assert in_file is not None
    assert ordered is not None
    assert in_file.tolist() == sorted(in_file)
    assert ordered.tolist() == sorted(in_file, reverse=True)


def test_documents_are_trained_batch_by_batch() -> None:
    lengths = np.array([5, 2, 3, 1, 4, 4])
    problem = replace(make(Shape(5, 2, 3, 4), "training"), lengths=lengths)
    work = ragged.in_batches(problem)
    assert work.detail == "19 of 24 steps are valid"
    last = make(Shape(5, 2, 3, 4), "training")
    last = replace(last, shape=Shape(4, 2, 3, 4), x=last.x[:4], upstream=last.upstream[:4])
    expected = computed(ours.LAYER.build(last))
    del expected["d_x"]
    assert not differences(computed(work), expected)


def _threads_in(_problem: Problem) -> Work:
    return Work(torch.get_num_threads, None, detail=f"built on {torch.get_num_threads()}")


@pytest.fixture
def three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_side_runs_on_the_threads_of_its_name() -> None:
    problem = make(Shape(1, 1, 1, 1), "forward")
    for threads, name in ((1, "it, 1 thread"), (2, "it, 2 threads")):
        side = on_threads(Side("it", "torch", _threads_in), threads)
        work = side.build(problem)
        assert (side.name, work.threads, work.detail) == (name, threads, f"built on {threads}")
        assert side.refuses(problem) is None
        assert work.call() == threads
        assert torch.get_num_threads() == 3
    assert on_threads(Side("it", "torch", _threads_in), 4).refuses(problem) == "this run has 3 threads"


def test_what_autograd_saves_is_counted_without_input_and_weights() -> None:
    T, B, H = 100, 3, 16
    problem = make(Shape(T, B, 5, H), "training")
    kept, spared = (recompute.saved(problem, side) for side in (ours.LAYER, ours.RECOMPUTED))
    assert kept % (4 * T * B * H) == 0
    assert 4 <= kept / (4 * T * B * H) <= 8
    assert spared == 2 * 4 * B * H * 10


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="there is no /proc")
def test_a_process_counts_its_rise_and_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(problem: Problem) -> Work:
        numbers = 6_000_000 if problem.shape.T > 2 else 1  # of 8 bytes, all of them written
        return Work(lambda: np.arange(numbers).sum(), None)

    assert {side.name for side in recompute.SIDES} <= set(memory.SIDES)
    monkeypatch.setitem(memory.SIDES, "some", Side("some", "", build))
    found = memory.measured("some", 2, Shape(3, 1, 1, 1))
    assert found.rise == pytest.approx(48, abs=8)
    assert found.peak >= found.rise + 20


def _sleep_within(seconds: float) -> None:
    with limited(seconds, "compiling"):
        try:
            time.sleep(5)
        except Exception:  # as compilers do
            time.sleep(5)


def test_what_takes_too_long_is_interrupted_and_later_alarms_are_not_touched() -> None:
    before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    with pytest.raises(TimeoutError, match=r"compiling took longer than 0\.05 s"):
        _sleep_within(0.05)
    assert time.monotonic() - began < 2
    with limited(0.05, "compiling"):
        pass
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGALRM) is before


def test_compiling_a_loop_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_loops, "MOST_SECONDS", 0.05)
    monkeypatch.setattr(torch_loops.torch, "compile", lambda *_given, **_named: lambda _x: time.sleep(5))
    with pytest.raises(TimeoutError, match="compiling"):
        peers.COMPILED_LOOP.build(make(Shape(3, 2, 4, 6), "training"))
