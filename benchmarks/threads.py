"""A side on as many threads of torch as its name says, whatever the run has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from problem import Problem, Side, Work


def counted(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def on_threads(side: Side, threads: int) -> Side:
    """The same side under a name with that number."""

    def build(problem: Problem) -> Work:
        with _on(threads):
            work = side.build(problem)

        def call() -> Any:
            with _on(threads):
                return work.call()

        return work._replace(call=call, threads=threads)

    def refuses(problem: Problem) -> str | None:
        if threads > torch.get_num_threads():
            return f"this run has {counted(torch.get_num_threads())}"
        return side.refuses(problem)

    return replace(side, name=f"{side.name}, {counted(threads)}", build=build, refuses=refuses)


@contextmanager
def _on(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
