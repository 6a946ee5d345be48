"""Locked dropout: one mask per sequence, the same expectation, nothing at evaluation."""

from __future__ import annotations

import pytest
import torch

from holdfast.nn.regularise import LockedDropout


def test_the_mask_is_the_same_at_every_step_and_its_own_for_every_sequence() -> None:
    dropped = LockedDropout(0.4).train()(torch.ones(9, 30, 40))
    assert (dropped == dropped[0]).all()
    assert len({tuple(row.tolist()) for row in dropped[0]}) == 30


def test_kept_features_are_scaled_so_that_the_mean_stays() -> None:
    dropped = LockedDropout(0.4).train()(torch.ones(2, 100, 100))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.6]))
    # 10,000 draws of 0 or 1 / 0.6 have a standard error of 0.008
    assert dropped[0].mean().item() == pytest.approx(1.0, abs=0.04)


def test_a_dropped_feature_gets_no_gradient() -> None:
    x = torch.ones(3, 4, 5, requires_grad=True)
    dropped = LockedDropout(0.5).train()(x)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_otherwise_it_returns_what_it_got(p: float, training: bool) -> None:
    x = torch.randn(3, 4, 5)
    assert LockedDropout(p).train(training)(x) is x
