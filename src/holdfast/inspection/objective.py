"""Which number of a network's answer is looked at: its gradient is taken, its changes are counted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.inspection.subject import Reading, Subject

Objective = Callable[[Tensor], Tensor]
"""From scores `[B, K]` to one number per row, `[B]`."""


def log_odds(output: int) -> Objective:
    """One output against all others: log p / (1 - p) of a softmax; the score itself for K = 1."""

    def of(scores: Tensor) -> Tensor:
        if scores.shape[1] == 1:
            return scores[:, output]
        others = functional.one_hot(scores.new_tensor(output).long(), scores.shape[1]).bool()
        return scores[:, output] - scores.masked_fill(others, -float("inf")).logsumexp(1)

    return of


def score(output: int) -> Objective:
    """The score of one output, as for labels that do not exclude each other."""
    return lambda scores: scores[:, output]


def cross_entropy(output: int) -> Objective:
    """The loss of a classifier whose right answer is `output`; with one output the score itself."""

    def of(scores: Tensor) -> Tensor:
        if scores.shape[1] == 1:
            return scores[:, output]
        return -scores.log_softmax(1)[:, output]

    return of


def answer(subject: Subject, reading: Reading, asked: str | int | None = None) -> int:
    """The index of an output: the one that is asked for, else the one with the highest score.

    Args:
        subject: the network.
        reading: the row.
        asked: the name or the index of an output; None: what the network says of the row.

    Raises:
        InputError: there is no such output.
    """
    if asked is None:
        return int(subject.scores([reading])[0].argmax())
    names = list(subject.outputs)
    if isinstance(asked, str) and asked in names:
        return names.index(asked)
    if isinstance(asked, int) and not isinstance(asked, bool) and 0 <= asked < len(names):
        return asked
    raise InputError(
        f"there is no output {asked!r}; give one of {', '.join(names)}, or an index up to {len(names) - 1}"
    )
