"""Layers and directions are numbered through a network; lags count back from what is read last."""

from __future__ import annotations

import numpy as np
from readers import reader, row

from holdfast.inspection.places import lag_of_share, median_by_lag, middle_length, places


def test_layers_are_numbered_through_all_modules() -> None:
    found = places(reader())
    assert [place.label for place in found] == [
        "layer 1",
        "layer 1, from the end",
        "layer 2",
        "layer 2, from the end",
        "layer 3",
    ]
    assert [(place.module, place.layer, place.direction, place.number) for place in found] == [
        (0, 0, 0, 1),
        (0, 0, 1, 1),
        (0, 1, 0, 2),
        (0, 1, 1, 2),
        (1, 0, 0, 3),
    ]


def test_a_place_picks_its_own_values() -> None:
    subject = reader()
    traces = subject.run(row().x, trace=True).traces
    for place in places(subject):
        assert (place.of(traces, "h") == traces[place.module]["h"][place.layer, place.direction]).all()


def test_each_direction_counts_back_from_its_own_last_step() -> None:
    forward, reverse = places(reader())[:2]
    steps = np.arange(5)
    assert forward.by_lag(steps).tolist() == [4, 3, 2, 1, 0]
    assert reverse.by_lag(steps).tolist() == [0, 1, 2, 3, 4]
    assert steps[forward.last] == 4
    assert steps[reverse.last] == 0


def test_the_median_is_of_the_curves_that_are_long_enough() -> None:
    curves = [np.array([1.0, 5.0]), np.array([2.0, 6.0, 9.0]), np.array([9.0])]
    assert median_by_lag(curves).tolist() == [2.0, 5.5, 9.0]


def test_the_median_length_of_rows() -> None:
    assert middle_length(np.array([4, 4, 2, 1])) == 3
    assert middle_length(np.array([1])) == 1


def test_the_lag_of_a_share_by_hand() -> None:
    assert lag_of_share(np.array([5.0, 4.0, 1.0]), 0.9) == 1
    assert lag_of_share(np.array([5.0, 3.9, 1.1]), 0.9) == 2
    assert lag_of_share(np.array([1.0, 0.0, 0.0]), 0.9) == 0
    assert lag_of_share(np.full(10, 0.1), 0.9) == 8
    assert lag_of_share(np.zeros(3), 0.9) == 0
