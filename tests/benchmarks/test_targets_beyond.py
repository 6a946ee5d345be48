"""Layer norm, projection, recomputation, bfloat16, users' cells and other frameworks, in made-up numbers."""

from __future__ import annotations

from pathlib import Path

import ours
import peers
import pytest
from groups.own_cell import OWN_CELL
from groups.recompute import LONG_PEAK, PEAK, SAVED, TIME
from made_up import add, verdict
from problem import STAGED, Problem, Shape
from records import Records, failed_row
from targets import TARGETS, table

LAYER = ours.LAYER.name
SHAPES = (Shape(35, 16, 64, 128), Shape(100, 32, 128, 256))


def staged(records: Records, over_plain: dict[str, tuple[float, float]]) -> None:
    """Each variant's time at the two shapes where our plain cell takes 10; the loops take 60 and 50."""
    for variant, times in over_plain.items():
        for shape, time in zip(SHAPES, times, strict=True):
            case = f"{variant} {shape}"
            values = {LAYER: time, peers.LOOP.name: 60, peers.COMPILED_STEPS.name: 50}
            add(records, "staged", case, shape, values, variant=variant)
            add(records, "staged", case, shape, {LAYER: 10})


def test_layer_norm_and_projection_are_held_to_our_plain_cell(tmp_path: Path) -> None:
    records = Records(tmp_path)
    slow = dict.fromkeys(STAGED, (40.0, 40.0))  # what has no goal is not judged
    staged(records, slow | {"layer norm": (15, 17), "projection": (11, 11.5)})
    text, missed = verdict(records, "training with layer norm over")
    assert text == "1.60x, highest 1.70x at 100 32 128 256"
    assert missed == pytest.approx(100 * (1.7 / 1.6 - 1))
    text, missed = verdict(records, "training with a projection")
    assert text == "1.12x, highest 1.15x at 100 32 128 256"
    assert missed < 0


def test_layer_norm_is_held_to_each_kind_of_loop(tmp_path: Path) -> None:
    records = Records(tmp_path)
    staged(records, {"layer norm": (15, 16), "projection": (100, 100)})
    text, missed = verdict(records, "training with layer norm against")
    assert text == (
        "loop in torch: at least 3.75x, 100 32 128 256; "
        "loop in torch, compiled steps: at least 3.12x, 100 32 128 256"
    )
    assert missed < 0
    case = f"layer norm {SHAPES[0]}"
    add(records, "staged", case, SHAPES[0], {peers.COMPILED_LOOP.name: 30}, variant="layer norm")
    text, missed = verdict(records, "training with layer norm against")
    assert text.endswith("; loop in torch, compiled: at least 2.00x, 35 16 64 128")
    assert missed == pytest.approx(100 * (1 - 2 / 3))


def test_a_loop_that_took_too_long_to_compile_is_named(tmp_path: Path) -> None:
    records = Records(tmp_path)
    staged(records, {"layer norm": (15, 16)})
    problem = Problem(SHAPES[0], "training", "layer norm")
    reason = "TimeoutError: compiling took longer than 300 s"
    records.add("staged", [failed_row("staged", "layer norm", peers.COMPILED_LOOP, problem, reason)])
    lines = [line for line in table(records) if line.startswith("| training with layer norm against")]
    assert "; not timed: loop in torch, compiled (1) |" in lines[0]


def test_recomputation_is_held_to_what_is_saved_and_to_the_time(tmp_path: Path) -> None:
    records, recomputed = Records(tmp_path), ours.RECOMPUTED.name
    for shape, saved, time in (
        (Shape(10_000, 1, 64, 128), 1, 135),
        (Shape(10_000, 1, 64, 128, 2, 3), 12, 140),
    ):
        add(records, "recompute", f"{SAVED}, {shape}", shape, {LAYER: 100, recomputed: saved}, unit="MB")
        add(records, "recompute", f"{TIME}, {shape}", shape, {LAYER: 100, recomputed: time})
        add(records, "recompute", f"{PEAK}, {shape}", shape, {LAYER: 100, recomputed: 99}, unit="MB")
    text, missed = verdict(records, "recompute=True, T = 10,000: memory")
    assert text == "0.03x, highest 0.12x at 10000 1 64 128, 3 layers both ways"
    assert missed == pytest.approx(20)
    text, missed = verdict(records, "recompute=True, T = 10,000: training")
    assert text == "1.37x, highest 1.40x at 10000 1 64 128, 3 layers both ways"
    assert missed < 0


def test_a_long_sequence_is_held_to_a_gigabyte(tmp_path: Path) -> None:
    records, shape = Records(tmp_path), Shape(100_000, 1, 64, 128, 2, 3)
    values = {LAYER: 2602.0, ours.RECOMPUTED.name: 962.0}
    add(records, "recompute", f"{LONG_PEAK}, {shape}", shape, values, unit="MB")
    assert verdict(records, "recompute=True, T = 100,000") == (
        "962 MB (2602 MB without)",
        pytest.approx(-3.8),
    )
    records = Records(tmp_path / "other")
    add(records, "recompute", f"{LONG_PEAK}, {shape}", shape, {ours.RECOMPUTED.name: 1100.0}, unit="MB")
    assert verdict(records, "recompute=True, T = 100,000") == ("1100 MB", pytest.approx(10))


def test_bfloat16_is_held_to_our_float32_of_the_same_work(tmp_path: Path) -> None:
    records, bfloat16 = Records(tmp_path), ours.BFLOAT16.name
    large, few_rows, few_units = Shape(100, 64, 256, 512), Shape(100, 16, 256, 512), Shape(100, 64, 64, 128)
    for work, shape, time in (
        ("training", large, 10),
        ("training", SHAPES[1], 15),
        ("training", few_rows, 30),  # too small to count
        ("training", few_units, 30),
        ("forward", large, 16),
    ):
        values = {LAYER: 18, bfloat16: time, peers.TORCH.name: 9, peers.BFLOAT16.name: 5}
        add(records, "bfloat16", f"{work} {shape}", shape, values, work=work)
    text, missed = verdict(records, "bfloat16 against our float32, training")
    assert text == "1.47x, lowest 1.20x at 100 32 128 256"
    assert missed == pytest.approx(100 * (1 - 1.2 / 1.4))
    text, missed = verdict(records, "bfloat16 against our float32, forward")
    assert text == "1.12x, lowest 1.12x at 100 64 256 512"
    assert missed == pytest.approx(100 * (1 - 1.125 / 1.4))


@pytest.mark.parametrize(
    ("own", "measured", "missed"),
    [(10.4, "1.04x", -1), (9.6, "0.96x", -1), (10.8, "1.08x", 3), (9, "0.90x", 5)],
)
def test_a_users_cell_is_neither_slower_nor_faster(
    tmp_path: Path, own: float, measured: str, missed: float
) -> None:
    records, shape = Records(tmp_path), SHAPES[0]
    add(records, "own_cell", f"training {shape}", shape, {LAYER: 10, OWN_CELL.name: 10})
    add(records, "own_cell", f"forward {shape}", shape, {LAYER: 10, OWN_CELL.name: own}, work="forward")
    text, by = verdict(records, "a user's copy")
    assert text.endswith(f"furthest {measured}, forward {shape}")
    assert by == pytest.approx(missed, abs=1e-6)


def test_a_users_cell_that_did_not_run_is_not_judged(tmp_path: Path) -> None:
    records = Records(tmp_path)
    add(records, "own_cell", "training", SHAPES[0], {LAYER: 10})
    (target,) = [target for target in TARGETS if target.group == "own_cell"]
    assert target.judge(records) is None


def test_other_frameworks_are_met_in_the_mean_over_all_shapes(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for shape, keras, xla, jax in ((Shape(1, 1, 64, 64), 9, 8, 0.5), (SHAPES[1], 2, 6, 18)):
        values = {peers.KERAS.name: keras, peers.KERAS_XLA.name: xla, peers.JAX.name: jax}
        add(records, "training", f"training {shape}", shape, {LAYER: 1, peers.LOOP.name: 0.1} | values)
    text, missed = verdict(records, "training against Keras")
    assert text == "4.00x, lowest 2.00x at 100 32 128 256"
    assert missed < 0
    text, missed = verdict(records, "training against a scan in JAX")
    assert text == "3.00x, lowest 0.50x at 1 1 64 64"
    assert missed == pytest.approx(-20)
    add(records, "training", "third", SHAPES[0], {LAYER: 1, peers.JAX.name: 1})
    _, missed = verdict(records, "training against a scan in JAX")
    assert missed == pytest.approx(100 * (1 - 9 ** (1 / 3) / 2.5))
