"""The encoder: windows that carry the state and cut the gradient, and rows that do not see each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from holdfast.nn.encoder import Encoder

CELLS = ("lstm", "peephole", "rnn")
CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, the same sums in another blocking


def encoder(window: int, *, cell: str = "lstm", bidirectional: bool = False, layers: int = 1) -> Encoder:
    torch.manual_seed(3)
    made = Encoder(3, 4, layers=layers, bidirectional=bidirectional, cell=cell, window=window)
    return made.double().eval()


def sequences(lengths: list[int], padding: float = 0.0, extra: int = 0) -> tuple[Tensor, Tensor]:
    """Random rows, the same for the same lengths, with `extra` more steps of padding."""
    x = torch.full((max(lengths) + extra, len(lengths), 3), padding, dtype=torch.float64)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(length)
        x[:length, row] = torch.randn(length, 3, generator=generator, dtype=torch.float64)
    return x, torch.tensor(lengths)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_windows_carry_the_forward_state(cell: str, layers: int) -> None:
    x, lengths = sequences([10, 1, 3, 4, 7])
    whole = encoder(99, cell=cell, layers=layers)(x, lengths)
    for window in (2, 3, 5, 9):
        torch.testing.assert_close(encoder(window, cell=cell, layers=layers)(x, lengths), whole, **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_the_reverse_direction_starts_anew_in_each_window(cell: str) -> None:
    x, lengths = sequences([8, 5, 2])
    output = encoder(3, cell=cell, bidirectional=True)(x, lengths)
    whole = encoder(99, cell=cell, bidirectional=True)
    torch.testing.assert_close(output[..., :4], whole(x, lengths)[..., :4], **CLOSE)
    for row, length in enumerate(lengths.tolist()):
        for start in range(0, length, 3):
            part = x[start : min(start + 3, length), row : row + 1]
            alone = whole(part, torch.tensor([len(part)]))
            torch.testing.assert_close(output[start : start + len(part), row, 4:], alone[:, 0, 4:], **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_does_not_cross_a_border(cell: str) -> None:
    x, lengths = sequences([7, 7])
    x.requires_grad_()
    encoder(3, cell=cell)(x, lengths)[5].sum().backward()
    assert (x.grad[:3] == 0).all()
    assert (x.grad[3:6] != 0).all()
    assert (x.grad[6] == 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_crosses_it_where_one_looks_at_it(cell: str) -> None:
    x, lengths = sequences([7, 7])
    gradients = []
    for window in (3, 99):
        entering = x.clone().requires_grad_()
        encoder(window, cell=cell)(entering, lengths, cut=False)[5].sum().backward()
        gradients.append(entering.grad)
    assert (gradients[1][:6] != 0).all()
    torch.testing.assert_close(*gradients, **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("window", [3, 99])
def test_a_row_does_not_depend_on_padding_or_on_other_rows(
    cell: str, bidirectional: bool, window: int
) -> None:
    reader = encoder(window, cell=cell, bidirectional=bidirectional, layers=2)
    lengths = [8, 1, 3, 5, 6]
    output = reader(*sequences(lengths))
    for row, length in enumerate(lengths):
        for extra in (0, 1, 4):
            alone = reader(*sequences([length], extra=extra))
            torch.testing.assert_close(output[:length, row], alone[:length, 0], **CLOSE)
            assert (alone[length:] == 0).all()
        assert (output[length:, row] == 0).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("window", [3, 99])
def test_what_stands_in_padding_changes_neither_output_nor_gradient(cell: str, window: int) -> None:
    results = []
    for padding in (0.0, math.nan):
        reader = encoder(window, cell=cell, bidirectional=True, layers=2)
        x, lengths = sequences([8, 2, 5], padding)
        x.requires_grad_()
        output = reader(x, lengths)
        output.square().sum().backward()
        results.append([output.detach(), x.grad, *(parameter.grad for parameter in reader.parameters())])
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
        assert dirty.isfinite().all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recompute", [2, True])
def test_recomputation_in_each_window_changes_no_bit(cell: str, recompute: int | bool) -> None:
    x, lengths = sequences([8, 2, 5, 13])
    results = []
    for wish in (None, recompute):
        torch.manual_seed(3)
        reader = Encoder(3, 4, layers=2, cell=cell, window=5, recompute=wish)
        for layer in reader.layers:
            layer.backend = "reference"  # which runs every cell both ways
        output = reader(x.float(), lengths)
        output.square().sum().backward()
        results.append([output.detach(), *(parameter.grad for parameter in reader.parameters())])
    assert all(map(torch.equal, *results))
    assert {layer.recompute for layer in reader.layers} == {recompute}


def test_dropout_is_on_the_input_and_between_layers() -> None:
    made = Encoder(3, 4, layers=3, dropouts=(0.1, 0.2))
    assert [dropout.p for dropout in made.dropouts] == [0.1, 0.2, 0.2]
    assert made.out_features == 8
    x, lengths = torch.randn(6, 2, 3), torch.tensor([6, 4])
    assert not torch.equal(made.train()(x, lengths), made(x, lengths))
    assert torch.equal(made.eval()(x, lengths), made(x, lengths))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("window", [3, 99])
def test_the_trace_is_what_was_read(cell: str, bidirectional: bool, window: int) -> None:
    reader = encoder(window, cell=cell, bidirectional=bidirectional, layers=2)
    x, lengths = sequences([7])
    trace = reader.trace(x)
    directions = 2 if bidirectional else 1
    assert {tuple(value.shape) for value in trace.values()} == {(2, directions, 7, 1, 4)}
    last = torch.cat(list(trace["h"][1]), dim=-1)
    torch.testing.assert_close(last, reader(x, lengths), **CLOSE)
    if cell != "rnn":
        assert set(trace) == {"i", "f", "g", "o", "c", "h"}
        torch.testing.assert_close(trace["h"], trace["o"] * trace["c"].tanh(), rtol=1e-12, atol=1e-12)
