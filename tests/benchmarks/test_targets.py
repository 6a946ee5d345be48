"""The table of targets says of made-up measurements what is true of them."""

from __future__ import annotations

from pathlib import Path

import ours
import peers
import pytest
from groups.words import BY_COLUMNS, BY_ROWS, EMBEDDED
from made_up import add, verdict
from problem import Shape
from records import Records
from targets import TARGETS, table
from targets_plain import exponent

LAYER, TORCH = ours.LAYER.name, peers.TORCH.name


def test_without_measurements_nothing_is_said(tmp_path: Path) -> None:
    lines = list(table(Records(tmp_path)))
    assert len(lines) == 2 + len(TARGETS)
    assert all("not measured" in line for line in lines[2:])


def test_training_needs_the_mean_and_every_floor(tmp_path: Path) -> None:
    records = Records(tmp_path)
    add(records, "training", "row", Shape(100, 1, 64, 64), {LAYER: 1, TORCH: 0.1})  # B = 1 does not count
    add(records, "training", "a", Shape(100, 16, 64, 128), {LAYER: 1, TORCH: 4, peers.LOOP.name: 0.5})
    add(records, "training", "b", Shape(35, 20, 1500, 1500), {LAYER: 10, TORCH: 12})
    text, missed = verdict(records, "training, dense")
    assert text == "2.19x, lowest 1.20x at 35 20 1500 1500"
    assert missed <= 0
    add(records, "training", "c", Shape(100, 32, 128, 256), {LAYER: 10, TORCH: 12})
    assert verdict(records, "training, dense")[1] == pytest.approx(100 * (1 - 1.2 / 1.3))


def test_forward_meets_the_best_of_all_peers(tmp_path: Path) -> None:
    records = Records(tmp_path)
    values = {LAYER: 2, ours.NUMPY.name: 1, TORCH: 4, peers.ONNX_RUNTIME.name: 1.9}
    add(records, "forward", "a", Shape(100, 16, 64, 128), values)
    add(records, "forward", "b", Shape(100, 1, 64, 64), values)
    assert verdict(records, "forward, B")[0] == "0.95x, lowest 0.95x at 100 16 64 128"
    assert verdict(records, "forward, T")[0] == "1.90x at 100 1 64 64"
    assert verdict(records, "forward, T")[1] == pytest.approx(5)


def test_steps_lengths_and_memory(tmp_path: Path) -> None:
    records, shape = Records(tmp_path), Shape(1, 1, 64, 64)
    steps = {ours.STEP.name: 0.003, ours.CORE_STEP.name: 0.0009, peers.ONNX_RUNTIME.name: 0.007}
    add(records, "step", "s", shape, steps)
    assert verdict(records, "one step, B = 1, I = H = 64, inside")[1] <= 0
    text, missed = verdict(records, "one step, B = 1, I = H = 64, from Python")
    assert text == "3.00 us (ONNX Runtime here 7.0)"
    assert missed == pytest.approx(20)
    ragged = Shape(400, 64, 64, 128)
    add(records, "lengths", f"lengths 1 to T, {ragged}", ragged, {LAYER: 50, peers.PACKED.name: 600})
    assert verdict(records, "training, lengths") == ("12.0x", pytest.approx(-20))
    add(records, "memory", "m", ragged, {LAYER: 110, TORCH: 100}, unit="MB")
    assert verdict(records, "peak memory")[1] == pytest.approx(10)


def test_words_are_compared_with_the_embedding(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for hidden, embedded in ((128, 24), (256, 14)):
        values = {BY_COLUMNS.name: 10, BY_ROWS.name: 1, EMBEDDED.name: embedded}
        add(records, "words", f"words, H {hidden}", Shape(100, 64, 30_000, hidden), values)
    text, missed = verdict(records, "training from 30,000 words")
    assert text == "1.83x, lowest 1.40x, words, H 256"
    assert missed == pytest.approx(100 * (1 - 1.4 / 1.5))


def test_variants_are_compared_with_plain_and_with_the_best_loop(tmp_path: Path) -> None:
    records, shape = Records(tmp_path), Shape(100, 16, 64, 128)
    for variant, values in {
        "peephole": {LAYER: 11, peers.LOOP.name: 50, peers.COMPILED_LOOP.name: 44},
        "plain": {LAYER: 10},
    }.items():
        add(records, "variants", "peephole case", shape, values, variant=variant)
    assert verdict(records, "training of each variant over")[0] == "at most 1.10x, peephole case"
    assert verdict(records, "training of each variant against")[0] == "at least 4.00x, peephole case"


def test_the_share_is_that_of_the_fastest_product_of_the_same_case(tmp_path: Path) -> None:
    records, shape = Records(tmp_path), Shape(100, 32, 128, 256)
    for side, speed in ((LAYER, 300.0), ("product", 200.0), ("product", 500.0), ("multiply-add peak", 900.0)):
        add(records, "product", "p", shape, {side: 1}, gflop_s=speed)
    assert verdict(records, "share")[0] == "60 %, lowest 60 % at 100 32 128 256"
    assert verdict(records, "share")[1] == pytest.approx(20)


def test_exponents_are_those_of_exact_powers(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for T in (50, 100, 200):
        add(records, "scaling", "training, T", Shape(T, 48, 8, 8), {LAYER: T**1.2})
    for H in (64, 128, 256):
        add(records, "scaling", "training, H(I+H)", Shape(50, 48, H, H), {LAYER: 3 * H * (H + H)})
    assert exponent(records, "training", "T") == pytest.approx(1.2, abs=1e-4)
    assert exponent(records, "training", "H(I+H)") == pytest.approx(1, abs=1e-4)
    assert exponent(records, "training", "B") is None
    assert verdict(records, "training time")[0] == "T 1.20, H(I+H) 1.00"
