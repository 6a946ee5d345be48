"""Each peer computes what ours computes; one that did not would not be timed."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import ours
import peers
import pytest
import torch
from case import Case, Entry
from groups.own_cell import OWN_CELL
from peers.torch_loops import LOOPS, DropoutOfG, DropoutOfH, Zoneout
from problem import KEYWORDS, Problem, Shape, Side, Work, make
from same_numbers import computed, differences

import holdfast

OWN_PARAMETERS = {
    "peephole": "weight_peephole",
    "layer norm": "gain_ih gain_hh gain_c bias_c",
    "projection": "weight_hr",
    "layer norm, projection": "gain_ih gain_hh gain_c bias_c weight_hr",
    "full gate recurrence": "weight_peephole weight_gates",
}
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
@pytest.mark.parametrize("variant", KEYWORDS)
@pytest.mark.parametrize("side", [peers.COMPILED_LOOP, peers.COMPILED_STEPS], ids=attrgetter("name"))
def test_the_compiled_loop_computes_the_same_numbers(side: Side, variant: str) -> None:
    problem = make(Shape(3, 2, 4, 6), "training", variant)
    expected = computed(ours.LAYER.build(problem.certain()))
    assert not differences(computed(side.build(problem.certain())), expected)
    if problem.random:
        assert differences(computed(side.build(problem)), expected)


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


@pytest.mark.parametrize("variant", KEYWORDS)
def test_the_loop_of_a_variant_computes_the_same_numbers_where_nothing_is_random(variant: str) -> None:
    problem = make(Shape(6, 3, 5, 8), "training", variant).certain()
    expected = computed(ours.LAYER.build(problem))
    assert not differences(computed(peers.LOOP.build(problem)), expected)
    own = {name.removeprefix("d_") for name in expected} - {"output", "x", "weight_ih", "weight_hh", "bias"}
    assert own == set(OWN_PARAMETERS.get(variant, "").split())
    assert set(LOOPS) == set(KEYWORDS)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_pytorchs_layer_has_the_projection_and_no_layer_norm() -> None:
    problem = make(Shape(6, 3, 5, 8), "training", "projection")
    expected = computed(ours.LAYER.build(problem))
    assert expected["output"].shape == (6, 3, 4)
    assert not differences(computed(peers.TORCH.build(problem)), expected)
    refused = peers.TORCH.refuses(make(Shape(6, 3, 5, 8), "training", "layer norm"))
    assert refused == "it has no layer norm"


@pytest.mark.parametrize("work", ["forward", "training"])
def test_bfloat16_is_near_and_not_the_same(work: str) -> None:
    problem = make(Shape(20, 4, 16, 32), work)
    expected = computed(ours.LAYER.build(problem))
    for side in (ours.BFLOAT16, peers.BFLOAT16):
        if side.refuses(problem):
            pytest.skip(str(side.refuses(problem)))
        theirs = computed(side.build(problem))
        assert not differences(theirs, expected, side.tolerance)
        assert len(differences(theirs, expected)) == len(expected)


def test_a_side_is_held_to_its_own_tolerance() -> None:
    problem = make(Shape(3, 2, 4, 5), "forward")
    sides = [Side("near", "torch", _wrong, tolerance=tolerance) for tolerance in (2e-3, 5e-4)]
    case = Case("forward", "some", lambda: [Entry(side, problem) for side in (ours.LAYER, *sides)])
    measured = case.measure(0.0)
    assert (len(measured.rows), len(measured.failures)) == (2, 1)


def test_a_layer_that_the_core_would_not_run_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "reference: chosen (slow)\nnative: refused: the cell is not compiled: no compiler"
    monkeypatch.setattr(holdfast, "explain", lambda *_given, **_named: said)
    problem = make(Shape(3, 2, 4, 5), "forward", "peephole")
    case = Case("own_cell", "some", lambda: [Entry(side, problem) for side in (ours.LAYER, OWN_CELL)])
    assert [row["side"] for row in case.measure(0.0).rows] == [ours.LAYER.name]
    assert (
        f"{OWN_CELL.name} is left out: the core would not run it: native: refused" in capsys.readouterr().err
    )


def test_a_stack_is_made_with_all_its_layers() -> None:
    problem = make(Shape(4, 2, 3, 6, directions=2, layers=3), "training")
    expected = computed(ours.LAYER.build(problem))
    assert expected["output"].shape == (4, 2, 12)
    assert expected["d_weight_ih_l2_reverse"].shape == (24, 12)
    assert not differences(computed(peers.TORCH.build(problem)), expected)
    assert not differences(computed(ours.RECOMPUTED.build(problem)), expected, 0.0)
    assert problem.gflop == pytest.approx(3 * 2 * 8 * 2 * 24 * (3 + 6 + 2 * (12 + 6)) / 1e9)


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
