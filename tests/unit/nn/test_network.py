"""The network of text classification: its options reach their places, and rows do not see each other."""

from __future__ import annotations

import pytest
import torch

from holdfast.errors import ConfigError
from holdfast.nn.network import NetworkOptions, TextNetwork

SMALL = {"embedding": 5, "hidden": 3}


@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
@pytest.mark.parametrize("pooling", [("last",), ("mean", "max", "attention")])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_logits_do_not_depend_on_the_batch(cell: str, pooling: tuple[str, ...], bidirectional: bool) -> None:
    options = NetworkOptions(
        **SMALL, cell=cell, pooling=pooling, bidirectional=bidirectional, layers=2, window=4
    )
    network = TextNetwork(9, 3, options).double().eval()
    lengths = [6, 1, 4]
    tokens = torch.zeros(6, 3, dtype=torch.long)
    for row, length in enumerate(lengths):
        tokens[:length, row] = torch.randint(1, 9, (length,))
    logits = network(tokens, torch.tensor(lengths))
    assert logits.shape == (3, 3)
    for row, length in enumerate(lengths):
        alone = network(tokens[:length, row : row + 1], torch.tensor([length]))
        torch.testing.assert_close(logits[row], alone[0], rtol=1e-12, atol=1e-14)


def test_every_option_reaches_its_place() -> None:
    options = NetworkOptions(
        cell="peephole",
        embedding=6,
        hidden=4,
        layers=3,
        bidirectional=False,
        pooling=("last", "mean"),
        word_dropout=0.11,
        embedding_dropout=0.12,
        type_dropout=0.16,
        input_dropout=0.13,
        layer_dropout=0.14,
        output_dropout=0.15,
        window=17,
        recompute=6,
    )
    network = TextNetwork(9, 2, options)
    assert network.embedding.weight.shape == (9, 6)
    embedding = network.embedding
    assert (embedding.word_dropout, embedding.dropout, embedding.type_dropout) == (0.11, 0.12, 0.16)
    assert [dropout.p for dropout in network.encoder.dropouts] == [0.13, 0.14, 0.14]
    assert [layer.cell.name for layer in network.encoder.layers] == ["peephole"] * 3
    assert {layer.hidden_size for layer in network.encoder.layers} == {4}
    assert not any(layer.bidirectional for layer in network.encoder.layers)
    assert (network.pool.poolings, network.pool.directions, network.dropout.p) == (("last", "mean"), 1, 0.15)
    assert network.encoder.window == 17
    assert {layer.recompute for layer in network.encoder.layers} == {6}
    assert {layer.recompute for layer in TextNetwork(9, 2, NetworkOptions()).encoder.layers} == {None}
    assert network.head.weight.shape == (2, 8)


def test_every_parameter_learns() -> None:
    network = TextNetwork(
        9, 2, NetworkOptions(**SMALL, pooling=("last", "mean", "max", "attention"), layers=2)
    )
    network.eval()(torch.randint(1, 9, (5, 4)), torch.tensor([5, 2, 3, 4])).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if name != "pool.query.bias":  # a softmax does not see what all its scores share
            assert (parameter.grad != 0).any(), name


def test_the_trace_is_of_evaluation() -> None:
    network = TextNetwork(9, 2, NetworkOptions(**SMALL, layers=2)).train()
    tokens = torch.randint(1, 9, (7, 1))
    first, second = network.trace(tokens), network.trace(tokens)
    assert {value.shape for value in first.values()} == {(2, 2, 7, 3)}
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("changes", [{"cell": "gruu"}, {"pooling": ()}, {"pooling": ("max", "max")}])
def test_what_cannot_be_built_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TextNetwork(9, 2, NetworkOptions(**SMALL, **changes))
