"""Any network around the layer can be inspected, and is the same afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.inspection.places import places
from holdfast.inspection.subject import Reading, Subject, batch_of
from holdfast.inspection.traced import strands_of
from holdfast.nn.lstm import LSTM
from holdfast.nn.network import NetworkOptions, TextNetwork

CLOSE: dict[str, float] = {"rtol": 1e-10, "atol": 1e-13}


class Counter(nn.Module):
    """A user's network: two layers with dropout, the last state decides."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.first = LSTM(3, 4, **options)
        self.second = LSTM(4, 5, bidirectional=True, **options)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        output = self.second(self.first(x)[0])[0]
        last = output[:, -1] if self.first.batch_first else output[-1]
        return self.head(self.dropout(last))  # type: ignore[no-any-return]


def counter(**options: Any) -> Counter:
    torch.manual_seed(2)
    return Counter(**options).double()


def reading(steps: int = 5, seed: int = 0) -> Reading:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, 1, 3, generator=generator, dtype=torch.float64)
    return Reading(f"row {seed}", tuple(map(str, range(steps))), x)


def text_subject(window: int) -> tuple[Subject, Tensor, Tensor]:
    torch.manual_seed(4)
    network = TextNetwork(9, 3, NetworkOptions(embedding=3, hidden=4, layers=2, window=window)).double()
    x, lengths = batch_of([reading(9, 1), reading(4, 2)])
    return Subject.of(network, ("a", "b", "c"), lambda net, x, lengths: net.scores(x, lengths)), x, lengths


def test_a_users_network_is_read_as_it_would_answer() -> None:
    network = counter()
    subject = Subject.of(network, ("few", "many"))
    assert list(subject.layers) == ["first", "second"]
    x = reading().x
    scores, traces = subject.run(x, trace=True)
    torch.testing.assert_close(scores, network.eval()(x), **CLOSE)
    assert [tuple(trace["c"].shape) for trace in traces] == [(1, 1, 5, 1, 4), (1, 2, 5, 1, 5)]
    torch.testing.assert_close(traces[0]["h"][0, 0], network.first(x)[0], **CLOSE)
    assert subject.run(x).traces == []


def test_the_module_is_the_same_afterwards() -> None:
    network = counter().train()
    network.second.eval()
    network.head.requires_grad_(False)
    modes = {name: part.training for name, part in network.named_modules()}
    learnt = {name: part.requires_grad for name, part in network.named_parameters()}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scores, _ = Subject.of(network, ("a", "b")).run(reading().x.requires_grad_(), trace="gradients")
    scores.sum().backward()
    assert {name: part.training for name, part in network.named_modules()} == modes
    assert {name: part.requires_grad for name, part in network.named_parameters()} == learnt
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_it_is_the_same_after_an_error_too() -> None:
    network = counter().train()
    with pytest.raises(ValueError, match="x must"):
        Subject.of(network, ("a", "b"), _failing).run(reading().x, trace=True)
    assert network.training
    assert network.first.weight_ih_l0.requires_grad
    assert not network.first._forward_hooks


def _failing(module: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    raise ValueError("x must")


def test_gradients_reach_x_and_the_values() -> None:
    network = counter()
    x = reading().x.requires_grad_()
    scores, traces = Subject.of(network, ("a", "b")).run(x, trace="gradients")
    scores[:, 0].sum().backward()
    again = x.detach().requires_grad_()
    network.eval()(again)[:, 0].sum().backward()
    torch.testing.assert_close(x.grad, again.grad, **CLOSE)
    assert traces[0].gradients["g"].abs().min() > 0


def test_batch_first_layers_give_traces_with_time_first() -> None:
    turned = Subject.of(counter(batch_first=True), ("a", "b"), lambda net, x, n: net(x.transpose(0, 1)))
    plain = Subject.of(counter(), ("a", "b"))
    x = torch.cat([reading(5, 1).x, reading(5, 2).x], 1)
    found, expected = turned.run(x, trace=True), plain.run(x, trace=True)
    torch.testing.assert_close(found.scores, expected.scores, **CLOSE)
    for one, other in zip(found.traces, expected.traces, strict=True):
        torch.testing.assert_close(one["g"], other["g"], **CLOSE)


@pytest.mark.parametrize("trace", [False, True, "gradients"])
def test_windows_are_read_as_the_whole_is_answered(trace: Any) -> None:
    subject, x, lengths = text_subject(window=4)
    scores, traces = subject.run(x.requires_grad_(), lengths, trace=trace)
    network = subject.module.eval()
    torch.testing.assert_close(scores, network._decide(network.encoder(x, lengths), lengths), **CLOSE)  # type: ignore[operator]
    scores[0, 0].backward()
    assert x.grad is not None
    assert (x.grad[:, 0] != 0).all()  # also across the borders
    assert (x.grad[:, 1] == 0).all()
    for one in traces:
        assert one["f"].shape == (1, 2, 9, 2, 4)
        if trace == "gradients":
            assert (one.gradients["g"][:, :, :, 0] != 0).any(-1).all()


def test_the_gradient_of_the_last_state_crosses_the_borders() -> None:
    """As if there were no windows; while the network learns it ends at them."""
    x, gradients = reading(9).x, []
    for window in (4, 99):
        torch.manual_seed(4)
        options = NetworkOptions(embedding=3, hidden=4, bidirectional=False, pooling=("last",), window=window)
        subject = Subject.of(
            TextNetwork(9, 2, options).double(), ("a", "b"), lambda net, x, n: net.scores(x, n)
        )
        entering = x.clone().requires_grad_()
        subject.run(entering).scores[0, 0].backward()
        gradients.append(entering.grad)
    assert (gradients[0][0] != 0).all()
    torch.testing.assert_close(*gradients, **CLOSE)


def test_padding_changes_nothing() -> None:
    subject, x, lengths = text_subject(window=99)
    together = subject.run(x, lengths).scores
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(subject.run(x[:length, row : row + 1]).scores[0], together[row], **CLOSE)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_the_same_network_with_another_cell(cell: str) -> None:
    network = counter()
    subject = Subject.of(network, ("a", "b"))
    before = torch.get_rng_state()
    other = subject.with_cell(cell, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert {layer.cell.name for layer in other.layers.values()} == {cell}
    assert {layer.cell.name for layer in subject.layers.values()} == {"lstm"}
    assert not torch.equal(other.module.head.weight, network.head.weight)  # type: ignore[union-attr, arg-type]
    x = reading().x
    torch.testing.assert_close(other.run(x).scores, subject.with_cell(cell, seed=5).run(x).scores)
    assert not torch.equal(other.run(x).scores, subject.with_cell(cell, seed=6).run(x).scores)
    assert other.run(x).scores.shape == (1, 2)


def test_a_layer_alone_can_be_inspected() -> None:
    subject = Subject.of(LSTM(3, 2).double(), ("a", "b"), lambda layer, x, lengths: layer(x)[0][-1])
    assert list(subject.layers) == ["lstm"]
    assert subject.with_cell("rnn").run(reading().x, trace=True).traces[0]["h"].shape == (1, 1, 5, 1, 2)


class TestWhatCannotBeInspected:
    def test_a_network_without_a_layer_of_ours(self) -> None:
        with pytest.raises(
            InputError, match=r"Linear cannot be inspected: there are no holdfast\.LSTM in it"
        ):
            Subject.of(nn.Linear(2, 2), ("a", "b"))
        with pytest.raises(InputError, match="there are no names of its scores"):
            Subject.of(counter(), ())

    def test_scores_of_another_shape(self) -> None:
        with pytest.raises(InputError, match=r"\[B, K\] = \[1, 3\].*a, b, c; it gave \[1, 2\]"):
            Subject.of(counter(), ("a", "b", "c")).run(reading().x)

    def test_rows_of_different_lengths_where_the_network_takes_none(self) -> None:
        subject = Subject.of(counter(), ("a", "b"))
        with pytest.raises(InputError, match=r"Counter takes no lengths.*got lengths \[5, 3\]"):
            subject.scores([reading(5), reading(3)])
        assert subject.scores([reading(5), reading(5, 1)]).shape == (2, 2)

    def test_a_layer_that_is_never_called(self) -> None:
        subject = Subject.of(counter(), ("a", "b"), lambda net, x, n: net.head(x.new_zeros(x.shape[1], 10)))
        with pytest.raises(InputError, match="the network never called first, second"):
            subject.run(reading().x, trace=True)

    def test_no_reading(self) -> None:
        with pytest.raises(InputError, match="no reading"):
            batch_of([])

    @pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.zeros(3, 2, 3), torch.zeros(0, 1, 3)])
    def test_a_reading_whose_labels_do_not_fit(self, x: Tensor) -> None:
        with pytest.raises(InputError, match=r"data.csv, row 2: x must be \[T, 1, I\] with a label for each"):
            Reading("data.csv, row 2", tuple("ab"), x)


def test_strands_are_the_layers_and_directions() -> None:
    subject, _, _ = text_subject(window=99)
    rows = [reading(9, 1), reading(4, 2)]
    strands = strands_of(subject, rows)
    assert [strand.label for strand in strands] == [place.label for place in places(subject)]
    assert [strand.reverse for strand in strands] == [False, True, False, True]
    values = subject.values(rows)
    for strand, place in zip(strands, places(subject), strict=True):
        expected = values[place.module]["c"][place.layer, place.direction]
        np.testing.assert_array_equal(strand.values["c"], expected)
        assert strand.gates == ("i", "f", "o")
        np.testing.assert_array_equal(strand.kept["c"], strand.values["f"])
        rowwise = np.concatenate([expected[:9, 0], expected[:4, 1]])
        np.testing.assert_array_equal(strand.steps("c"), rowwise)
