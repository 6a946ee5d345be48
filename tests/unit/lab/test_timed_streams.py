from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.lab import timed_streams
from holdfast.lab.single_cells import SingleCells
from holdfast.lab.timed_streams import Learner, Streams, Task, judge, loss_of, targets_before_error


def constant(_generator, shape, targets, *, wanted=1.0) -> Streams:
    """Targets of two steps, of which all but every third step are judged."""
    ones = torch.ones(2 * targets, *shape)
    ends = torch.zeros_like(ones, dtype=torch.bool)
    ends[1::2] = True
    weights = ones.clone()
    weights[::3] = 0
    return Streams(torch.zeros_like(ones), wanted * ones, weights, ends)


def outputs_wrong_at(streams, *steps):
    outputs = streams.wanted.clone()
    outputs[list(steps)] -= 0.5
    return outputs


def test_a_stream_is_right_up_to_its_first_error() -> None:
    streams = constant(None, (1, 1), 4)
    judged = judge(outputs_wrong_at(streams, 5, 7), streams, 0.5)
    assert judged.learnt.flatten().tolist() == [True] * 6 + [False] * 2
    assert judged.right.item() == 2
    assert not judged.flawless.item()


def test_steps_that_are_not_judged_cannot_be_wrong() -> None:
    streams = constant(None, (1, 1), 4)
    judged = judge(outputs_wrong_at(streams, 0, 3, 6), streams, 0.5)
    assert judged.flawless.item()
    assert judged.right.item() == 4


def test_an_error_just_below_the_bound_is_right() -> None:
    streams = constant(None, (1, 1), 4)
    assert judge(streams.wanted - 0.48, streams, 0.49).flawless.all()
    assert not judge(streams.wanted + 0.5, streams, 0.49).flawless.any()


def test_each_stream_of_each_network_has_its_own_first_error() -> None:
    streams = constant(None, (2, 3), 4)
    outputs = streams.wanted.clone()
    outputs[4, 1, 2] = 9
    assert judge(outputs, streams, 0.5).right.tolist() == [[4, 4, 4], [4, 4, 2]]


@pytest.mark.parametrize(("beyond", "counted"), [(0.0, 3), (0.5, 4)])
def test_the_loss_ends_with_the_first_error_or_counts_less_after_it(beyond, counted) -> None:
    streams = constant(None, (1, 1), 4, wanted=0.0)
    task = Task(constant, 0.5, squash=None, beyond=beyond)
    judged = judge(outputs_wrong_at(streams, 4), streams, 0.5)
    # the first five steps, of which 1, 2 and 4 are judged; then 5 and 7
    assert loss_of(torch.ones(8, 1, 1), streams, judged.learnt, task).item() == pytest.approx(counted / 2)


@pytest.fixture
def learner():
    torch.manual_seed(4)
    task = Task(constant, 0.49)
    return Learner(SingleCells("lstm", 3), task, np.random.default_rng(0))


def test_networks_that_can_learn_the_task_do_and_then_stay_as_they_are(learner) -> None:
    learner.learn(2000)
    assert (learner.solved_after > 0).all()
    assert learner.consumed == learner.solved_after.max()
    assert learner.curve[-1][1] <= 1
    before = targets_before_error(learner.networks, learner.task, np.random.default_rng(1))
    assert before.tolist() == [timed_streams.TESTED] * 3


def test_a_task_that_is_not_solved_ends_with_the_budget() -> None:
    torch.manual_seed(4)

    def contradictory(_generator, shape, targets):
        streams = constant(None, shape, targets)
        return Streams(streams.x, torch.rand_like(streams.x).round(), streams.weights, streams.ends)

    learner = Learner(SingleCells("lstm", 3), Task(contradictory, 0.49), np.random.default_rng(0))
    learner.learn(50)
    assert learner.consumed == 50
    assert not learner.solved_after.any()


def test_streams_grow_with_the_best_network(learner) -> None:
    assert learner._targets == 2
    learner.learn(2000)
    assert learner._targets == timed_streams.IN_A_ROW


def test_the_outcome_counts_networks() -> None:
    outcome = timed_streams.learn_and_test("lstm", Task(constant, 0.49), budget=2000, seed=0)
    assert outcome.solved
    assert outcome.score == "10 of 10 networks, 10 right over 1,000 fresh targets"
    assert outcome.numbers == {"solved": 10, "networks": 10, "perfect": 10, "tested": 1000}
    assert outcome.weights == 14
    assert 0 < outcome.sequences < 2000
