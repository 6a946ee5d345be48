from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.cells import CELLS
from holdfast.lab.bundled import chorales
from holdfast.lab.experiment import Outcome
from holdfast.lab.experiments import variants
from holdfast.lab.experiments.variants import Composer, Pieces, Trial
from holdfast.lab.jobs import Job
from holdfast.lab.results import Results


def test_the_file_is_the_one_its_readme_describes() -> None:
    readme = (Path(chorales()).parent / "README.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"`([0-9a-f]{64})`", readme)
    assert hashlib.sha256(chorales().read_bytes()).hexdigest() == said


@pytest.mark.parametrize(
    ("split", "count", "steps"), [("train", 229, 13807), ("valid", 76, 4602), ("test", 77, 4725)]
)
def test_the_splits_are_the_usual_ones(split: str, count: int, steps: int) -> None:
    some = variants.pieces(split)
    assert some.rolls.shape[1:] == (count, 88)
    assert int(some.lengths.sum()) == steps
    assert some.rolls[torch.arange(len(some.rolls))[:, None] >= some.lengths].sum() == 0
    assert set(some.rolls.unique().tolist()) == {0.0, 1.0}


def test_notes_become_keys_of_a_piano() -> None:
    some = variants.pieces("test")
    first_chord = some.rolls[0, 0].nonzero().flatten() + 21
    assert first_chord.tolist() == [72, 76, 79, 84]


def test_every_single_change_of_the_paper_has_its_cell() -> None:
    assert set(variants.VARIANTS) == {
        "vanilla",
        "NIG",
        "NFG",
        "NOG",
        "NIAF",
        "NOAF",
        "NP",
        "CIFG",
        "FGR",
        "rnn",
    }
    assert set(variants.VARIANTS.values()) <= set(CELLS)


def test_a_prediction_never_sees_the_step_it_predicts() -> None:
    torch.manual_seed(0)
    network = Composer(variants.new_layer("vanilla", 5), torch.full((88,), 0.1))
    rolls = (torch.rand(9, 2, 88) < 0.1).float()
    changed = rolls.clone()
    changed[4] = 1 - changed[4]
    lengths = torch.tensor([9, 9])
    before, after = (network.scores(Pieces(given, lengths)) for given in (rolls, changed))
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])


def test_padding_counts_for_nothing() -> None:
    torch.manual_seed(0)
    network = Composer(variants.new_layer("CIFG", 5), torch.full((88,), 0.1))
    rolls = (torch.rand(9, 2, 88) < 0.1).float()
    losses = network(Pieces(rolls, torch.tensor([9, 4])))
    alone = network(Pieces(rolls[:4, 1:], torch.tensor([4])))
    assert losses[4:, 1].abs().sum() == 0
    assert torch.allclose(losses[:4, 1], alone[:, 0], atol=1e-5)


def test_an_untrained_model_says_how_often_each_key_sounds() -> None:
    some = variants.pieces("train")
    shares = some.rolls.sum((0, 1)) / some.lengths.sum()
    network = Composer(None, shares)
    torch.nn.init.zeros_(network.head.weight)
    p = shares.clamp(1e-4, 1 - 1e-4).double()
    entropy = -(shares * p.log() + (1 - shares) * (1 - p).log()).sum()
    assert float(network(some).detach().double().sum() / some.lengths.sum()) == pytest.approx(
        float(entropy), rel=1e-3
    )


def test_trials_stay_in_their_ranges_and_are_the_same_for_every_variant() -> None:
    one, other = (Trial.drawn(np.random.default_rng(5)) for _ in range(2))
    assert one == other
    generator = np.random.default_rng(6)
    drawn = [Trial.drawn(generator) for _ in range(200)]
    assert {20 <= trial.units <= 100 for trial in drawn} == {True}
    assert {2e-3 <= trial.rate <= 2e-2 for trial in drawn} == {True}
    assert len({trial.units for trial in drawn}) > 30


def test_learning_ends_when_validation_no_longer_improves() -> None:
    falling = [(float(epoch), 10.0 - epoch) for epoch in range(9)]
    flat = [(float(9 + epoch), 3.0 + epoch) for epoch in range(variants.PATIENCE - 1)]
    assert variants.improving([])
    assert variants.improving(falling + flat)
    assert not variants.improving([*falling, *flat, (20.0, 8.0)])


def test_the_quick_version_tells_a_memory_from_none() -> None:
    (case,) = variants.VARIANTS_ON_CHORALES.quick
    outcome = variants.run(case, case.arm("vanilla"), 0)
    assert outcome.solved
    assert outcome.numbers["test"] < outcome.numbers["last_step_only"]
    assert outcome.numbers["test"] == outcome.numbers[variants.trial_name(0)] < 10


def test_a_network_whose_memory_is_cut_is_not_solved(monkeypatch) -> None:
    def forgetful(variant: str, units: int):
        layer = make(variant, units)
        if layer is not None:
            layer.register_forward_pre_hook(lambda _, args: (torch.zeros_like(args[0]), *args[1:]))
        return layer

    make = variants.new_layer
    monkeypatch.setattr(variants, "new_layer", forgetful)
    (case,) = variants.VARIANTS_ON_CHORALES.quick
    assert not variants.run(case, case.arm("vanilla"), 0).solved


def results_of(tests: dict[str, list[list[float]]]) -> Results:
    outcomes = {
        Job("variants", CASE.name, name, seed): Outcome(
            True, 1, "", {variants.trial_name(place): test for place, test in enumerate(found)}
        )
        for name, seeds in tests.items()
        for seed, found in enumerate(seeds)
    }
    return Results("variants", outcomes)


(CASE,) = variants.VARIANTS_ON_CHORALES.cases
VANILLA = [[9.0, 8.0, 8.5], [8.25, 8.5, 8.75]]
COUPLED = [[8.75, 8.0, 8.5], [8.25, 8.5, 8.5]]
FORGETLESS = [[9.5, 8.25, 8.5], [8.5, 8.5, 8.75]]


def test_variants_are_ordered_by_how_much_more_than_vanilla_the_same_trials_need() -> None:
    results = results_of({"NFG": FORGETLESS, "vanilla": VANILLA, "CIFG": COUPLED})
    assert variants.ordering(results, CASE) == [
        ("CIFG", [-0.25, 0, 0, 0, 0, -0.25]),
        ("vanilla", [0] * 6),
        ("NFG", [0.5, 0.25, 0, 0.25, 0, 0]),
    ]


def test_the_picture_shows_every_trial_of_every_variant() -> None:
    results = results_of({"NFG": FORGETLESS, "vanilla": VANILLA})
    (axes,) = variants.ordering_figure(variants.VARIANTS_ON_CHORALES, results).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["vanilla", "NFG"]
    dots = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[0] * 6, [0.5, 0.25, 0, 0.25, 0, 0]]
    assert axes.lines[3].get_ydata() == pytest.approx([1 / 6, 1 / 6])
