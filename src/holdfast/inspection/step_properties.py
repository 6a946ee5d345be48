"""What can be said of each step of a text by its label alone: position, brackets, quotes, negation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Property = NDArray[Any]
NEGATIONS = frozenset(
    ("not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "nowhere", "without", "cannot")
)
_CLAUSE_END = re.compile(r"[.,;:!?]|but$", re.IGNORECASE)
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", '"“”„«»'
_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


def position(labels: Sequence[str]) -> Property:
    """How many steps came before, `[T]`."""
    return np.arange(len(labels), dtype=np.float64)


def steps_left(labels: Sequence[str]) -> Property:
    """How many steps are still to come, `[T]`."""
    return position(labels)[::-1]


def since_line_break(labels: Sequence[str]) -> Property:
    """How many steps lie since the last line break, or since the start, `[T]` (Karpathy et al. 2016)."""
    counts, count = np.zeros(len(labels)), 0
    for step, label in enumerate(labels):
        count = 0 if "\n" in label else count + 1
        counts[step] = count
    return counts


def inside_brackets(labels: Sequence[str]) -> Property:
    """How many brackets are open after each step, `[T]`; a closing one without an opening one counts not."""
    depths, depth = np.zeros(len(labels)), 0
    for step, label in enumerate(labels):
        for character in label:
            depth = max(depth + (character in _OPENING) - (character in _CLOSING), 0)
        depths[step] = depth
    return depths


def inside_quotes(labels: Sequence[str]) -> Property:
    """1 from an opening quotation mark up to the closing one, else 0, `[T]` (Karpathy et al. 2016)."""
    marks = [sum(label.count(mark) for mark in _QUOTES) for label in labels]
    return np.cumsum(marks) % 2 * 1.0


def after_negation(labels: Sequence[str]) -> Property:
    """1 after a negation up to the end of its clause, else 0, `[T]`.

    The clause ends at the next punctuation mark (Pang, Lee and Vaithyanathan 2002) or at "but". English only.
    """
    found = np.zeros(len(labels))
    negated = False
    for word, first, last in _words(labels):
        plain = word.lower().replace("’", "'")
        if _CLAUSE_END.match(plain):
            negated = False
        found[first : last + 1] = negated
        negated = negated or plain in NEGATIONS or plain.endswith("n't")
    return found


def _words(labels: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Each word with its first and last step: a label, or where labels are characters, a run of them."""
    if all(len(label) == 1 for label in labels):
        for match in _WORD.finditer("".join(labels)):
            yield match[0], match.start(), match.end() - 1
        return
    for step, label in enumerate(labels):
        yield label.strip(), step, step


OF_STEPS: dict[str, Callable[[Sequence[str]], Property]] = {
    "position": position,
    "steps left": steps_left,
}
OF_TEXTS: dict[str, Callable[[Sequence[str]], Property]] = {
    "since the last line break": since_line_break,
    "inside brackets": inside_brackets,
    "inside quotes": inside_quotes,
    "after a negation": after_negation,
}


def step_properties(labels: Sequence[Sequence[str]], *, texts: bool = True) -> dict[str, list[Property]]:
    """Every property of the steps of some rows that is not the same everywhere in them.

    Args:
        labels: of each row the labels of its steps.
        texts: whether the labels are tokens of a text; False for times.

    Returns:
        By name, for each row `[T]`: ready for `following.following`, together with properties of your own.
    """
    functions = OF_STEPS | (OF_TEXTS if texts else {})
    if not any("\n" in label for row in labels for label in row):
        functions = {name: of for name, of in functions.items() if of is not since_line_break}
    found = {name: [of(row) for row in labels] for name, of in functions.items()}
    return {name: rows for name, rows in found.items() if len(np.unique(np.concatenate(rows))) > 1}
