"""Token vectors: word dropout replaces words, never padding, and the padding vector stays zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.nn.embed import PAD_ID, UNKNOWN_ID, TokenEmbedding


def marked(embedding: TokenEmbedding) -> TokenEmbedding:
    """Token k has the vector (k, k, ...), so that a result says which token was looked up."""
    with torch.no_grad():
        embedding.weight.copy_(
            torch.arange(float(len(embedding.weight)))[:, None].expand_as(embedding.weight)
        )
    return embedding


def looked_up(embedding: TokenEmbedding, tokens: Tensor) -> Tensor:
    return embedding(tokens)[..., 0].long()


def test_a_token_is_a_row_of_the_table_and_padding_is_zero() -> None:
    embedding = TokenEmbedding(7, 3).eval()
    tokens = torch.tensor([[2, 5], [6, 0]])
    torch.testing.assert_close(embedding(tokens), embedding.weight[tokens], rtol=0, atol=0)
    assert (embedding(tokens)[1, 1] == 0).all()


def test_word_dropout_replaces_the_stated_share_of_words_by_the_unknown_word() -> None:
    embedding = marked(TokenEmbedding(9, 2, word_dropout=0.3)).train()
    tokens = torch.randint(2, 9, (100, 100))
    seen = looked_up(embedding, tokens)
    changed = seen != tokens
    assert (seen[changed] == UNKNOWN_ID).all()
    # 10,000 draws have a standard error of 0.0046
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_word_dropout_never_touches_padding() -> None:
    embedding = marked(TokenEmbedding(9, 2, word_dropout=0.9)).train()
    tokens = torch.full((200, 20), PAD_ID)
    assert (looked_up(embedding, tokens) == PAD_ID).all()


def test_embedding_dropout_drops_single_numbers_and_scales_the_others() -> None:
    embedding = TokenEmbedding(3, 4, dropout=0.25).train()
    with torch.no_grad():
        embedding.weight.fill_(3.0)
    vectors = embedding(torch.full((50, 50), 2))
    assert set(vectors.unique().tolist()) == {0.0, 4.0}
    # 10,000 draws have a standard error of 0.0043
    assert (vectors == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_type_dropout_drops_a_word_everywhere_in_the_batch_and_scales_the_others() -> None:
    embedding = TokenEmbedding(2000, 3, type_dropout=0.4).train()
    with torch.no_grad():
        embedding.weight.fill_(3.0)
    tokens = torch.arange(1, 2000).repeat(3, 1)
    vectors = embedding(tokens)
    assert torch.equal(vectors, vectors[:1, :, :1].expand_as(vectors))
    torch.testing.assert_close(vectors.unique(), torch.tensor([0.0, 5.0]))
    # 2,000 draws have a standard error of 0.011
    assert (vectors[0, :, 0] == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert not torch.equal(vectors, embedding(tokens))


def test_a_dropped_word_gets_no_gradient_and_the_others_the_scaled_one() -> None:
    embedding = TokenEmbedding(50, 3, type_dropout=0.5).train()
    with torch.no_grad():
        embedding.weight.fill_(1.0)
    vectors = embedding(torch.arange(1, 50)[:, None])
    vectors.sum().backward()
    assert torch.equal(embedding.weight.grad[1:], vectors[:, 0].detach())


def test_without_dropout_no_random_number_is_drawn() -> None:
    embedding = TokenEmbedding(9, 2).train()
    before = torch.get_rng_state()
    embedding(torch.tensor([[2, 3], [4, 0]]))
    assert torch.equal(torch.get_rng_state(), before)


def test_at_evaluation_nothing_is_dropped() -> None:
    embedding = marked(TokenEmbedding(9, 2, dropout=0.9, word_dropout=0.9)).eval()
    tokens = torch.randint(0, 9, (40, 40))
    assert torch.equal(looked_up(embedding, tokens), tokens)


def test_the_padding_vector_stays_zero_while_the_others_learn() -> None:
    embedding = TokenEmbedding(5, 3, dropout=0.5, word_dropout=0.2).train()
    before = embedding.weight.detach().clone()
    optimizer = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (embedding(torch.tensor([[2, 3], [4, 0], [0, 0]])) - 1.0).square().sum().backward()
        optimizer.step()
    assert (embedding.weight[PAD_ID] == 0).all()
    assert (embedding.weight[2:] != before[2:]).all()


def test_start_from_fills_the_first_columns_and_leaves_padding_zero() -> None:
    embedding = TokenEmbedding(4, 3)
    kept = embedding.weight[:, 2].detach().clone()
    vectors = torch.from_numpy(np.arange(1, 9, dtype=np.float64).reshape(4, 2))
    embedding.start_from(vectors)
    expected = [[0.0, 0.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    assert embedding.weight[:, :2].tolist() == expected
    assert torch.equal(embedding.weight[:, 2], kept)
    assert embedding.weight.requires_grad
