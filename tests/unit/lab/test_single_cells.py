from __future__ import annotations

import pytest
import torch

from holdfast.lab.single_cells import SingleCells
from holdfast.nn.lstm import LSTM


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)


@pytest.mark.parametrize(("cell", "numbers"), [("peephole", 17), ("lstm", 14), ("rnn", 5)])
def test_a_network_learns_as_many_numbers_as_the_papers(cell, numbers) -> None:
    assert SingleCells(cell, 4).numbers_of_one == numbers


@pytest.mark.parametrize("cell", ["peephole", "lstm", "rnn"])
def test_each_network_is_a_layer_of_one_unit(cell) -> None:
    networks = SingleCells(cell, 3, spread=1.0)
    x = torch.randn(7, 2, 3)
    together = networks(x)
    for place in range(3):
        alone = LSTM(1, 1, cell=cell)
        values = {name: part[:, place] for name, part in networks.columns.items()}
        with torch.no_grad():
            for name, parameter in alone.named_parameters():
                given = values.get(name.removesuffix("_l0"))
                parameter.copy_(torch.zeros(()) if given is None else given.reshape_as(parameter))
        output, _ = alone(x[:, :, place : place + 1])
        expected = output[:, :, 0] * networks.head[0, place] + networks.head[1, place]
        torch.testing.assert_close(together[:, :, place], expected)


def test_no_network_moves_another() -> None:
    networks = SingleCells("peephole", 4, spread=1.0)
    networks(torch.randn(9, 2, 4))[:, :, 2].sum().backward()
    for values in networks.learnt():
        assert values.grad[:, [0, 1, 3]].abs().max() == 0
        assert values.grad[:, 2].abs().min() > 0


def test_gates_start_with_the_biases_of_the_paper() -> None:
    biases = SingleCells("peephole", 500, spread=0.1).columns["bias_ih"]
    for row, bias in zip(biases, (0, -2, 0, 2), strict=True):
        assert (row - bias).abs().max() <= 0.1
    assert biases[0].std() > 0.03


def test_each_gradient_is_clipped_alone_and_one_that_is_lost_is_zero() -> None:
    networks = SingleCells("lstm", 3)
    for values in networks.learnt():
        values.grad = torch.ones_like(values) * torch.tensor([1e-3, 100.0, 1.0])
    networks.head.grad[0, 2] = torch.inf
    networks.clip(2.0)
    norms = torch.cat([values.grad for values in networks.learnt()]).norm(dim=0)
    torch.testing.assert_close(norms, torch.tensor([1e-3 * 14**0.5, 2.0, 0.0]))
