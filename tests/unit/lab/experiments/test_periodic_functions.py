from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab.experiments import periodic_functions
from holdfast.lab.experiments.periodic_functions import PERIODIC_FUNCTIONS, SHAPES


def drawn(form, period=8, periods=3):
    return periodic_functions.draw(np.random.default_rng(0), (1, 2), periods, form=form, period=period)


@pytest.mark.parametrize("form", SHAPES)
def test_a_function_comes_back_after_each_period(form) -> None:
    streams = drawn(form)
    first, second, third = streams.wanted.split(8)
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)
    torch.testing.assert_close(first, third, atol=1e-6, rtol=0)
    assert streams.wanted.min() == pytest.approx(0, abs=1e-6)
    assert streams.wanted.max() == 1
    assert streams.ends[:, 0, 0].nonzero().flatten().tolist() == [7, 15, 23]


def test_the_shapes() -> None:
    assert drawn("triangle").wanted[:8, 0, 0].tolist() == [0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]
    assert drawn("rectangle").wanted[:8, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 0]
    low, high = 0.5 - 8**-0.5, 0.5 + 8**-0.5
    assert drawn("cosine").wanted[:8:2, 0, 0].tolist() == pytest.approx([low, high, high, low])


def test_there_is_no_input_and_every_step_is_judged() -> None:
    streams = drawn("cosine")
    assert streams.x.abs().max() == 0
    assert (streams.weights == 1).all()


def test_one_cell_keeps_a_rhythm_of_its_own_with_peepholes() -> None:
    (case,) = PERIODIC_FUNCTIONS.quick
    peephole, plain = (periodic_functions.run(case, case.arm(name), 0) for name in ("peephole", "rnn"))
    assert peephole.solved
    assert peephole.numbers["perfect"] > 0
    assert not plain.solved
