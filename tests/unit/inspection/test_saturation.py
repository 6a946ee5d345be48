"""How often gates are shut and open."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from holdfast.inspection.saturation import BINS, saturation, saturation_figure
from holdfast.inspection.strands import Strand

BOUNDS = {"f": (0.0, 1.0), "g": (-1.0, 1.0), "c": (-np.inf, np.inf)}


def strand() -> Strand:
    f = np.full((4, 2, 2), 0.5)
    f[0, 0] = 0.05  # shut
    f[1, 0, 0] = 0.95  # open
    f[3, 1] = 0.0  # padding: no finding
    g = np.where(f == 0.05, -0.81, f)
    return Strand("layer 1", {"f": f, "g": g, "c": 5 * f}, np.array([4, 3]), bounds=BOUNDS)


def test_shares_of_all_valid_steps() -> None:
    of_f, of_g = saturation([strand()])
    assert (of_f.value, of_g.value) == ("f", "g")
    assert of_f.steps == 7
    assert of_f.unit_low_share.tolist() == [1 / 7, 1 / 7]
    assert of_f.unit_high_share.tolist() == [1 / 7, 0]
    assert (of_f.low_share, of_f.high_share) == (1 / 7, 1 / 14)
    assert of_f.counts.sum() == 14
    assert of_f.counts[2] == 2
    assert of_f.counts[BINS // 2] == 11
    assert (of_g.low, of_g.low_share, of_g.high_share) == (-1, 1 / 7, 1 / 14)


def test_it_is_said_in_words_and_as_data() -> None:
    of_f, of_g = saturation([strand()])
    assert of_f.sentence == "layer 1: f is shut in 14% and wide open in 7% of all units and steps"
    assert "below -0.8 in 14% and above 0.8 in 7%" in of_g.sentence
    assert json.loads(json.dumps(of_f.as_dict()))["unit_low_share"] == [1 / 7, 1 / 7]


def test_the_picture_has_a_row_per_place_and_a_column_per_value() -> None:
    second = dataclasses.replace(strand(), label="layer 2")
    figure = saturation_figure(saturation([strand(), second]))
    assert [axes.get_title()[0] for axes in figure.axes] == ["f", "g", "f", "g"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert np.isclose(sum(heights), 1)
