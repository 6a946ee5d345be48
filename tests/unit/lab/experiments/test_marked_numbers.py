"""Adding, multiplication and two classes: what is drawn, and what counts as solved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.experiments import adding, multiplication, two_sequences

STEPS, COUNT = 40, 500


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_two_pairs_are_marked_and_the_ends_have_their_own_marker(generator) -> None:
    x, lengths, *_ = adding.draw_marked(generator, COUNT, STEPS, lowest=-1)
    assert x.shape == (int(lengths.max()), COUNT, 2)
    assert set(lengths.tolist()) == set(range(STEPS, STEPS + STEPS // 10 + 1))
    firsts, seconds = [], []
    for row, length in enumerate(lengths.tolist()):
        markers = x[:length, row, 1]
        marked = (markers == 1).nonzero()[:, 0].tolist()
        assert len(marked) == 2
        assert markers[-1] == -1
        assert markers[0] == (1 if marked[0] == 0 else -1)
        assert int((markers != 0).sum()) == (3 if marked[0] == 0 else 4)
        firsts.append(marked[0])
        seconds.append(marked[1])
    assert min(firsts) == 0
    assert max(firsts) < 10
    assert max(seconds) == STEPS // 2 - 2
    assert float(x[..., 0].min()) < -0.9


def test_the_sum_is_wanted_and_a_first_pair_counts_for_nothing(generator) -> None:
    drawn = adding.draw(generator, COUNT, STEPS)
    for row in range(COUNT):
        marked = (drawn.x[:, row, 1] == 1).nonzero()[:, 0].tolist()
        total = sum(float(drawn.x[step, row, 0]) for step in marked if step > 0)
        assert float(drawn.targets[row]) == pytest.approx(0.5 + total / 4, abs=1e-6)


def test_the_product_is_wanted_and_a_first_pair_counts_as_one(generator) -> None:
    drawn = multiplication.draw(generator, COUNT, STEPS)
    assert float(drawn.x[..., 0].min()) >= 0
    for row in range(COUNT):
        marked = (drawn.x[:, row, 1] == 1).nonzero()[:, 0].tolist()
        product = np.prod([float(drawn.x[step, row, 0]) for step in marked if step > 0])
        assert float(drawn.targets[row]) == pytest.approx(product, abs=1e-6)


def test_few_wrong_of_the_last_two_thousand() -> None:
    criterion = multiplication.FewWrong(13)
    criterion.see(torch.full((12,), 0.5))
    criterion.see(torch.zeros(1987))
    assert not criterion.met(), "2,000 must have been seen"
    criterion.see(torch.zeros(1))
    assert criterion.met()
    criterion.see(torch.tensor([0.05, 0.05] + [0.0] * 10))
    assert criterion.met(), "twelve of the first have left"
    criterion.see(torch.full((20,), 0.05))
    assert not criterion.met()


@pytest.mark.parametrize(("noise", "wrong", "mean"), [("", 0, 0.01), ("elements", 5, 0.04)])
def test_few_wrong_and_a_small_mean_of_the_last_256(noise: str, wrong: int, mean: float) -> None:
    criterion = two_sequences.FewWrongAndSmall(*two_sequences.LIMITS[noise])
    criterion.see(torch.full((255,), mean / 2))
    assert not criterion.met(), "256 must have been seen"
    criterion.see(torch.full((1,), mean / 2))
    assert criterion.met()
    criterion.see(torch.full((wrong,), 0.3))
    assert criterion.met()
    criterion.see(torch.full((1,), 0.3))
    assert not criterion.met()
    criterion.see(torch.full((256,), mean * 1.01))
    assert not criterion.met()


@pytest.mark.parametrize("informative", [1, 3])
def test_the_first_elements_tell_the_class_and_the_rest_is_noise(generator, informative: int) -> None:
    drawn = two_sequences.draw(generator, 2000, 100, informative)
    signs = 2 * drawn.targets[:, 0] - 1
    assert torch.equal(drawn.x[:informative, :, 0], signs.expand(informative, -1))
    assert 0.45 < float(drawn.targets.mean()) < 0.55
    rest = drawn.x[informative:100]
    assert float(rest.var()) == pytest.approx(0.2, rel=0.05)
    assert abs(float((rest[0, :, 0] * signs).mean())) < 0.05


def test_noise_stands_where_it_is_asked_for(generator) -> None:
    drawn = two_sequences.draw(generator, 2000, 100, 1, noise="elements")
    around = drawn.x[0, :, 0] - (2 * drawn.targets[:, 0] - 1)
    assert float(around.var()) == pytest.approx(0.2, rel=0.1)
    drawn = two_sequences.draw(generator, 2000, 100, 1, noise="targets")
    assert drawn.truth.unique().tolist() == pytest.approx([0.2, 0.8])
    assert float((drawn.targets - drawn.truth).var()) == pytest.approx(0.1, rel=0.1)
