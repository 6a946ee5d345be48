from __future__ import annotations

import pytest

from holdfast.lab.experiment import FAILS, SOLVES, Arm, Case, Experiment, Outcome
from holdfast.lab.jobs import Job
from holdfast.lab.results import Results
from holdfast.lab.tables import AGREES, DIFFERS, PARTLY, joined, rows, verdict

LSTM, RNN, OTHER = Arm("lstm", SOLVES, 500), Arm("rnn", FAILS, 300), Arm("other", "", 10)
CASE = Case("T = 9", "100 sequences", (LSTM, RNN, OTHER), {}, 100)


def outcome(solved: bool, sequences: int, score: str = "0 of 9 wrong") -> Outcome:
    return Outcome(solved, sequences, score, weights=7)


def results(**outcomes: list[Outcome]) -> Results:
    return Results(
        "x",
        {
            Job("x", CASE.name, arm, seed): found
            for arm, listed in outcomes.items()
            for seed, found in enumerate(listed)
        },
        {"processor": "p"},
    )


@pytest.mark.parametrize(
    ("arm", "outcomes", "expected"),
    [
        (LSTM, [(True, 90), (True, 100)], AGREES),
        (LSTM, [(True, 90), (False, 500)], PARTLY),
        (LSTM, [(True, 101), (True, 102)], PARTLY),
        (LSTM, [(False, 500)], DIFFERS),
        (RNN, [(False, 300), (False, 300)], AGREES),
        (RNN, [(True, 200), (False, 300)], PARTLY),
        (RNN, [(True, 200)], DIFFERS),
        (OTHER, [(True, 5)], ""),
    ],
)
def test_a_verdict_says_whether_ours_agrees(
    arm: Arm, outcomes: list[tuple[bool, int]], expected: str
) -> None:
    summary = results(**{arm.name: [outcome(*found) for found in outcomes]}).summary(CASE.name, arm.name)
    assert summary is not None
    assert verdict(CASE, arm, summary) == expected


def test_a_row_has_the_median_of_the_solved_runs_and_every_score() -> None:
    found = results(
        lstm=[outcome(True, 80, "1 of 9 wrong"), outcome(False, 500, "9 of 9 wrong"), outcome(True, 60)],
        rnn=[outcome(False, 300)],
    )
    lstm, rnn = rows(Experiment("x", "", "", "", "", "", (CASE,), (), lambda *_: outcome(True, 1)), found)
    assert (lstm.solved, lstm.consumed) == ("2 of 3", "70 (60 to 80)")
    assert lstm.scores == "1, 9, 0 of 9 wrong"
    assert (rnn.solved, rnn.consumed, rnn.weights) == ("0 of 1", "over 300", "7")


def test_scores_of_different_kinds_stand_side_by_side() -> None:
    assert joined(("8.1 nats", "3 wrong")) == "8.1 nats; 3 wrong"
    assert joined(("all right", "all right")) == "all right"


def test_results_come_back_from_their_file(tmp_path) -> None:
    path = tmp_path / "x.json"
    saved = results(lstm=[Outcome(True, 5, "good", {"wrong": 1.0}, ((1.0, 0.5), (2.0, 0.25)), 3, 0.5)])
    saved.save(path)
    loaded = Results.load(path)
    assert loaded.outcomes == saved.outcomes
    assert loaded.conditions == saved.conditions


def test_another_file_is_refused_by_name(tmp_path) -> None:
    from holdfast.errors import InputError

    path = tmp_path / "x.json"
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match=r"x\.json: no results of the lab"):
        Results.load(path)
