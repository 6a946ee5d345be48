"""The learning rate over time, as a factor of the highest one."""

from __future__ import annotations

import math

PLATEAU_PATIENCE = 1
PLATEAU_FACTOR = 0.5


def cosine(step: int, steps: int, warmup: float) -> float:
    """Rise linearly over the first `warmup` share of `steps`, then fall to 0 as half a cosine.

    Loshchilov & Hutter 2017, *SGDR*, without restarts.

    Args:
        step: counted from 1.
        steps: of the whole training.
        warmup: share of the steps, 0 to 1.

    Returns:
        The factor of the highest learning rate, 0 to 1.
    """
    rising = warmup * steps
    if step <= rising:
        return step / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(steps - rising, 1.0)))


def plateau(step: int, steps: int, warmup: float, losses: list[float]) -> float:
    """Rise as `cosine` does, then stay; halve whenever 2 epochs in a row brought no better validation loss.

    Args:
        step: counted from 1.
        steps: of the whole training.
        warmup: share of the steps, 0 to 1.
        losses: the validation loss of each epoch so far.

    Returns:
        The factor of the highest learning rate, 0 to 1.
    """
    factor, best, waited = 1.0, math.inf, 0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
            continue
        waited += 1
        if waited > PLATEAU_PATIENCE:
            factor, waited = factor * PLATEAU_FACTOR, 0
    rising = warmup * steps
    return factor * (step / rising if step <= rising else 1.0)
