"""The spectra of each gate's weights."""

from __future__ import annotations

import json

import numpy as np
import torch

from holdfast.inspection.spectra import spectra, spectra_figure
from holdfast.inspection.subject import Subject
from holdfast.nn.lstm import LSTM


def subject(**options: object) -> tuple[LSTM, Subject]:
    torch.manual_seed(1)
    layer = LSTM(3, 4, **options).double()  # type: ignore[arg-type]
    return layer, Subject.of(layer, ("a",), lambda layer, x, lengths: layer(x)[0][-1, :, :1])


def test_known_weights() -> None:
    layer, made = subject()
    with torch.no_grad():
        layer.weight_hh_l0[4:8] = torch.diag(torch.tensor([0.5, -3.0, 0.1, 1.0]))
        turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]])  # complex eigenvalues of magnitude 2
        layer.weight_hh_l0[8:12] = torch.block_diag(turn, turn / 2)
        layer.weight_ih_l0[4:8] = torch.eye(4)[:, :3] * 7
    found = {one.gate: one for one in spectra(made)}
    assert list(found) == ["i", "f", "g", "o"]
    np.testing.assert_allclose(found["f"].recurrent, [3, 1, 0.5, 0.1])
    np.testing.assert_allclose(found["f"].input, [7, 7, 7])
    assert np.isclose(found["f"].radius, 3)
    assert np.isclose(found["g"].radius, 2)
    json.dumps(found["f"].as_dict(), allow_nan=False)


def test_the_projection_is_part_of_the_way_back() -> None:
    layer, made = subject(proj_size=2)
    found = spectra(made)[1]
    product = (layer.weight_hh_l0[4:8] @ layer.weight_hr_l0).detach().numpy()
    assert found.recurrent.shape == (2,)
    assert np.isclose(found.radius, np.abs(np.linalg.eigvals(product)).max())


def test_every_place_and_the_gates_of_its_cell() -> None:
    _, made = subject(num_layers=2, bidirectional=True, cell="coupled")
    found = spectra(made)
    assert [one.gate for one in found] == ["f", "g", "o"] * 4
    assert list(dict.fromkeys(one.place for one in found)) == [
        "layer 1",
        "layer 1, from the end",
        "layer 2",
        "layer 2, from the end",
    ]
    assert len(spectra_figure(found).axes) == 8
