"""The mark on a method of the contract that says which cases it is run over, and sources of cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from contract.agreement import backends_of
from contract.cases import Case, case_of, changes_of

Method = Callable[..., None]
Sampled = Callable[[str], Iterable[Case]]


def over(names: str, source: Callable[[str], Iterable[Any]]) -> Callable[[Method], Method]:
    """Run the method over what `source` gives for the class's cell, as its arguments of these names."""

    def mark(method: Method) -> Method:
        method.over = names, source  # type: ignore[attr-defined]
        return method

    return mark


def on_backends(cases: Sampled) -> Callable[[str], Iterator[tuple[str, Case]]]:
    """Every backend that runs a case, with it."""

    def pairs(cell: str) -> Iterator[tuple[str, Case]]:
        return ((backend, case) for case in cases(cell) for backend in backends_of(case))

    return pairs


def with_changes(*rows: str) -> Sampled:
    """A case per row of changes that are parted by spaces; those that the cell does not take are left out."""

    def cases(cell: str) -> Iterator[Case]:
        known = changes_of(cell)
        return iter(dict.fromkeys(case_of(cell, [n for n in row.split() if n in known]) for row in rows))

    return cases
