"""Each peer computes what ours computes; one that did not would not be timed."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import ours
import peers
import pytest
import torch
from case import Case, Entry
from peers.torch_loops import LOOPS, DropoutOfG, DropoutOfH, Zoneout
from problem import VARIANTS, Problem, Shape, Side, Work, make
from same_numbers import computed, differences

SHAPES = (Shape(6, 3, 5, 7), Shape(1, 1, 4, 4), Shape(3, 1, 1, 9))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("work", ["forward", "training"])
@pytest.mark.parametrize(
    "side", [side for side in peers.DENSE if side is not peers.COMPILED_LOOP], ids=attrgetter("name")
)
def test_a_peer_computes_the_same_numbers(side: Side, work: str) -> None:
    _compare(side, work, SHAPES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_compiled_loop_computes_the_same_numbers(variant: str) -> None:
    problem = make(Shape(3, 2, 4, 5), "training", variant)
    expected = computed(ours.LAYER.build(problem.certain()))
    assert not differences(computed(peers.COMPILED_LOOP.build(problem.certain())), expected)
    if problem.random:
        assert differences(computed(peers.COMPILED_LOOP.build(problem)), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", peers.STEP, ids=attrgetter("name"))
def test_a_step_of_a_peer_starts_from_the_given_state(side: Side) -> None:
    for name in side.requires:
        pytest.importorskip(name)
    problem = make(Shape(1, 1, 5, 7), "step")
    assert not differences(
        computed(side.build(problem)), expected := computed(ours.LAYER_STEP.build(problem))
    )
    assert expected.keys() == {"output", "h", "c"}


def _compare(side: Side, work: str, shapes: tuple[Shape, ...]) -> None:
    for name in side.requires:
        pytest.importorskip(name)
    for shape in shapes:
        problem = make(shape, work)
        if side.refuses(problem):
            pytest.skip(str(side.refuses(problem)))
        theirs, expected = computed(side.build(problem)), computed(ours.LAYER.build(problem))
        assert not differences(theirs, expected), shape
        wanted = {"output", "d_x", "d_weight_ih", "d_weight_hh", "d_bias"} if problem.training else {"output"}
        assert expected.keys() == wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loop_of_a_variant_computes_the_same_numbers_where_nothing_is_random(variant: str) -> None:
    problem = make(Shape(6, 3, 5, 7), "training", variant).certain()
    expected = computed(ours.LAYER.build(problem))
    assert not differences(computed(peers.LOOP.build(problem)), expected)
    assert ("d_weight_peephole" in expected) == (variant == "peephole")
    assert set(LOOPS) == set(VARIANTS)


def test_zoneout_keeps_old_values_where_its_mask_says_so() -> None:
    loop = Zoneout(make(Shape(2, 3, 5, 7), "training", "zoneout"))
    z, h, c = torch.randn(3, 28), torch.randn(3, 7), torch.randn(3, 7)
    mask = torch.rand(2, 3, 7) < 0.5
    new_h, new_c = loop.step(z, h, c, torch.zeros_like(mask))
    mixed_h, mixed_c = loop.step(z, h, c, mask)
    assert torch.equal(mixed_h, torch.where(mask[0], h, new_h))
    assert torch.equal(mixed_c, torch.where(mask[1], c, new_c))
    assert not torch.equal(new_c, c)


def test_the_masks_of_the_loops_drop_the_shares_of_the_variants() -> None:
    shape = Shape(20, 30, 2, 40)
    x = torch.zeros(shape.T, shape.B, shape.I)
    zoned = Zoneout(make(shape, "training", "zoneout"))
    dropped = DropoutOfG(make(shape, "training", "dropout of g"))
    factor = DropoutOfH(make(shape, "training", "dropout of h")).drop_entering(torch.zeros(300, 40))
    zoneout_masks = torch.stack([mask for mask in zoned.masks(x) if mask is not None])
    dropout_masks = torch.stack([mask for mask in dropped.masks(x) if mask is not None])
    assert zoneout_masks.shape == (20, 2, 30, 40)
    assert zoneout_masks.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert dropout_masks.shape == (20, 30, 40)
    for scaled in (dropout_masks, factor):
        assert scaled is not None
        assert scaled.unique().tolist() == [0, pytest.approx(4 / 3)]
        assert scaled.mean().item() == pytest.approx(1, abs=0.03)


def _wrong(problem: Problem) -> Work:
    work = peers.TORCH.build(problem)
    return work._replace(arrays=lambda output: {"output": output.numpy() * 1.001})


def _broken(problem: Problem) -> Work:
    raise RuntimeError("cannot open libfast.so")


def test_a_side_that_computes_something_else_or_fails_is_named_and_not_timed() -> None:
    problem = make(Shape(3, 2, 4, 5), "forward")
    sides = (ours.LAYER, peers.TORCH, Side("wrong", "torch", _wrong), Side("broken", "torch", _broken))
    absent = Side("absent", "none", _broken, ("no_module_of_that_name",))
    case = Case("forward", "some", lambda: [Entry(side, problem) for side in (*sides, absent)])
    measured = case.measure(0.0)
    assert [row["side"] for row in measured.rows] == [ours.LAYER.name, peers.TORCH.name]
    wrong, broken = measured.failures
    assert [failed["side"] for failed in measured.failures] == ["wrong", "broken"]
    assert "output: off by 1.0e-03" in wrong["detail"]
    assert broken["detail"] == "RuntimeError: cannot open libfast.so"
    assert not broken["value"]


def test_differences_see_what_is_missing_misshapen_or_nan() -> None:
    expected = {"a": np.ones((2, 3)), "b": np.zeros(4)}
    assert not differences({"a": np.ones((2, 3)) * (1 + 5e-5), "b": np.zeros(4)}, expected)
    assert len(differences({"b": np.full(4, 1e-30)}, expected)) == 2
    assert len(differences({"a": np.ones((3, 2)), "b": np.zeros(4)}, expected)) == 1
    assert len(differences({"a": np.full((2, 3), np.nan), "b": np.zeros(4)}, expected)) == 1
