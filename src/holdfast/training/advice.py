"""A look at a network when its training has ended, and the advice that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from holdfast.inspection.advice import Advice, advise
from holdfast.training.history import EpochRow
from holdfast.training.look import Rows, look
from holdfast.training.options import TrainingOptions

ROWS = 32
"""Rows to look at: some hundred steps of each gate, in less time than one step of training takes."""


def advice_after(
    network: nn.Module,
    loss: Callable[[Rows], Tensor],
    rows: Rows,
    history: Sequence[EpochRow],
    options: TrainingOptions,
) -> list[Advice]:
    """What to try where gates saturate, gradients vanish or explode, or the network memorises.

    Args:
        network: as it is after training.
        loss: the mean loss of a batch, as in `loop.Problem`.
        rows: some training rows, of which at most 32 are read once.
        history: what `fit` returned.
        options: those of `fit`.

    Returns:
        Nothing where nothing is wrong.

    Example:
        >>> history = fit(network, problem, options)  # doctest: +SKIP
        >>> rows = problem.batches(0)[0]  # doctest: +SKIP
        >>> for advice in advice_after(network, problem.loss, rows, history, options):  # doctest: +SKIP
        ...     print(advice.text)
    """
    return advise(history, look(network, loss, rows[:ROWS]), options.clip_norm)
