from __future__ import annotations

import numpy as np
import torch

from holdfast.lab.experiments import measuring_spikes
from holdfast.lab.experiments.measuring_spikes import MEASURING_SPIKES


def drawn(intervals, *, longest=7):
    return measuring_spikes.draw(np.random.default_rng(0), (40, 3), intervals, shortest=5, longest=longest)


def test_spikes_are_as_far_apart_as_the_targets_say() -> None:
    streams = drawn(4)
    for row in range(40):
        at = streams.x[:, row, 1].nonzero().flatten()
        assert len(at) == 4
        delays = torch.diff(at, prepend=torch.tensor([-1])) - 5
        assert torch.equal(streams.wanted[at, row, 1], delays / 2)


def test_only_spikes_are_judged() -> None:
    streams = drawn(4)
    assert torch.equal(streams.weights > 0, streams.x > 0)
    assert torch.equal(streams.ends, streams.x > 0)
    assert streams.wanted[streams.x == 0].abs().max() == 0


def test_every_delay_is_drawn_and_networks_read_different_streams() -> None:
    streams = drawn(1)
    assert streams.wanted[streams.ends].unique().tolist() == [0, 0.5, 1]
    assert not torch.equal(streams.x[..., 0], streams.x[..., 1])


def test_one_cell_measures_to_the_step() -> None:
    (case,) = MEASURING_SPIKES.quick
    peephole = measuring_spikes.run(case, case.arm("peephole"), 0)
    assert peephole.solved
    assert peephole.numbers["solved"] >= 5
    assert peephole.numbers["perfect"] > 0
