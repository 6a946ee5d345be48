"""A criterion that stops learning for a while: ten thousand fresh sequences must all be right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.lab.learning import LastRight

CALM = 256
"""Right training sequences in a row before a trial is made."""
TRIED = 10_000
TRIAL_BATCH = 250
TRIAL_SEED = 2 * 10**6
"""Added to the seed of a run: what trials draw is neither learnt nor in the final test."""


class TenThousandRight(LastRight):
    """The criterion of experiment 2: without learning, 10,000 fresh sequences in a row are all right.

    A trial is made whenever the last 256 training sequences were right; where one of the 10,000 is wrong, the
    network learns on until as many more are right.

    Args:
        bound: an error below it is right.
        fresh_errors: draws as many fresh sequences and gives their errors `[B]` as the network now is.
    """

    def __init__(self, bound: float, fresh_errors: Callable[[int], Tensor]) -> None:
        super().__init__(bound, CALM)
        self.fresh_errors = fresh_errors
        self.trials, self.passed = 0, False

    def met(self) -> bool:
        if not self.passed and super().met():
            self.trials += 1
            self.passed = self._all_right()
            self.right_in_a_row = 0
        return self.passed

    @torch.no_grad()
    def _all_right(self) -> bool:
        """Whether all are right; the first batch with a wrong one ends the trial."""
        batches = range(TRIED // TRIAL_BATCH)
        return all(bool((self.fresh_errors(TRIAL_BATCH) < self.bound).all()) for _ in batches)
