from __future__ import annotations

import numpy as np
import torch

from holdfast.lab.experiments import generating_spikes
from holdfast.lab.experiments.generating_spikes import GENERATING_SPIKES


def test_a_spike_ends_every_interval_and_nothing_comes_in() -> None:
    streams = generating_spikes.draw(np.random.default_rng(0), (2, 3), 4, interval=5)
    assert streams.x.shape == (20, 2, 3)
    assert streams.x.abs().max() == 0
    assert streams.wanted[:, 1, 2].nonzero().flatten().tolist() == [4, 9, 14, 19]
    assert torch.equal(streams.wanted > 0, streams.ends)


def test_every_step_is_judged_and_a_spike_counts_as_a_quarter_of_the_others() -> None:
    streams = generating_spikes.draw(np.random.default_rng(0), (1, 1), 4, interval=20)
    assert (streams.weights > 0).all()
    assert streams.weights[19].item() == 5
    assert streams.weights[18].item() == 1


def test_the_paper_asks_for_peepholes() -> None:
    for case in GENERATING_SPIKES.cases:
        assert [(arm.name, arm.expected) for arm in case.arms[:2]] == [
            ("peephole", "solves"),
            ("lstm", "fails"),
        ]
        assert len({arm.budget for arm in case.arms}) == 1


def test_one_cell_spikes_in_time_and_a_plain_one_does_not() -> None:
    (case,) = GENERATING_SPIKES.quick
    peephole, plain = (generating_spikes.run(case, case.arm(name), 0) for name in ("peephole", "rnn"))
    assert peephole.solved
    assert peephole.numbers["perfect"] > 0
    assert not plain.solved
