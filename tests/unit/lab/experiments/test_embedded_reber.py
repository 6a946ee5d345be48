from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.experiment import Arm
from holdfast.lab.experiments import embedded_reber as reber
from holdfast.lab.experiments.embedded_reber import EMBEDDED_REBER, Lesson, Predictor
from holdfast.lab.reber_grammar import SYMBOLS, draw_distinct_strings, draw_strings


@pytest.fixture
def lesson() -> Lesson:
    return reber.as_lesson(draw_strings(40, np.random.default_rng(0)))


class Knows(Predictor):
    """Answers with the given logits, whatever it reads."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__("lstm", 1, 1.0)
        self.logits = logits

    def forward(self, *_: object, **__: object) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        return self.logits, ()


def test_a_lesson_is_each_symbol_with_the_next(lesson: Lesson) -> None:
    strings = draw_strings(40, np.random.default_rng(0))
    for row, text in enumerate(strings.written()):
        length = len(text) - 1
        assert int(lesson.lengths[row]) == length
        assert "".join(SYMBOLS[k] for k in lesson.symbols[:length, row]) == text[:-1]
        assert "".join(SYMBOLS[k] for k in lesson.following[:length, row]) == text[1:]
        assert (lesson.following[length:, row] == reber.PADDING).all()
        assert lesson.possible[torch.arange(length), row, lesson.following[:length, row]].all()


def test_some_rows_of_a_lesson_are_cut_to_their_longest(lesson: Lesson) -> None:
    rows = lesson.lengths.argsort()[:3]
    some = lesson.of(rows)
    longest = int(lesson.lengths[rows].max())
    assert some.symbols.shape == some.following.shape == (longest, 3)
    assert some.possible.shape == (longest, 3, 7)
    assert torch.equal(some.following, lesson.following[:longest, rows])


def test_the_order_of_the_outputs_decides_and_ties_are_wrong() -> None:
    possible = torch.tensor([[[True, True, False, False, False, False, False]]])
    for outputs, right in (
        ([2.0, 1, 0, 0, 0, 0, 0], True),
        ([1.0, 2, 0.9, 0, 0, 0, 0], True),
        ([2.0, 1, 1, 0, 0, 0, 0], False),
        ([2.0, 0, 1, 0, 0, 0, 0], False),
    ):
        assert bool(reber.most_active(torch.tensor([[outputs]]), possible)) == right


def test_who_knows_the_grammar_has_no_string_wrong(lesson: Lesson) -> None:
    knows = torch.where(lesson.possible, 0.0, -20.0)
    assert reber.wrong_strings(Knows(knows), lesson) == 0


def test_one_wrong_step_is_a_wrong_string_and_padding_is_none(lesson: Lesson) -> None:
    knows = torch.where(lesson.possible, 0.0, -20.0)
    knows[3, 5] = -knows[3, 5]
    knows[lesson.following == reber.PADDING] = 0
    assert reber.wrong_strings(Knows(knows), lesson) == 1


def test_who_forgets_the_second_symbol_has_about_half_of_the_strings_wrong(lesson: Lesson) -> None:
    """Whoever always says T before the last symbol: the strings that begin with B P are wrong."""
    knows = torch.where(lesson.possible, 0.0, -20.0)
    rows = torch.arange(40)
    knows[lesson.lengths - 2, rows] = 5 * torch.nn.functional.one_hot(torch.tensor(1), 7).float()
    assert reber.wrong_strings(Knows(knows), lesson) == int((lesson.symbols[1] == SYMBOLS.index("P")).sum())


def test_the_loss_leaves_padding_out(lesson: Lesson) -> None:
    sure = 50.0 * torch.nn.functional.one_hot(lesson.following.clamp(min=0), 7)
    sure[lesson.following == reber.PADDING] = torch.randn(7) * 100
    assert float(reber.loss(sure, lesson.following)) == pytest.approx(0, abs=1e-6)


def test_only_the_first_half_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = reber.as_lesson(draw_distinct_strings(20, np.random.default_rng(1)))
    picked: set[int] = set()

    def of(self: Lesson, rows: torch.Tensor) -> Lesson:
        picked.update(rows.tolist())
        return Lesson(*(part[rows] if part.dim() == 1 else part[:, rows] for part in self))

    monkeypatch.setattr(Lesson, "of", of)
    curve = reber.learn(Predictor("lstm", 2, 1.0), lesson, np.random.default_rng(0), rate=0.01, budget=200)
    assert picked == set(range(10))
    assert [consumed for consumed, _ in curve] == [0, 200]


@pytest.mark.parametrize("arm", EMBEDDED_REBER.quick[0].arms, ids=lambda arm: arm.name)
def test_the_quick_version_tells_a_memory_from_none(arm: Arm) -> None:
    outcome = reber.run(EMBEDDED_REBER.quick[0], arm, seed=0)
    assert outcome.solved == (arm.expected == "solves")
    assert outcome.sequences <= arm.budget
    assert (outcome.numbers["wrong"] < 26) == outcome.solved
