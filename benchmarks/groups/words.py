"""Training from words: indices into the layer itself against an embedding before torch.nn.LSTM.

The layer's weight_ih is the product of the peer's and of its table of vectors, so that both compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from case import Case, Entry
from peers.torch_layer import gradient, gradients
from problem import Arrays, Problem, Shape, Side, Work, make
from torch import Tensor, nn

import holdfast

# I is the number of words; a word's vector has H numbers.
SHAPES = {
    "tiny": (Shape(5, 2, 30, 8),),
    "quick": (Shape(100, 64, 30_000, 128),),
    "full": (Shape(100, 64, 30_000, 128), Shape(100, 64, 30_000, 256)),
}
EVENLY, BY_ZIPF = "evenly", "by Zipf's law"


def cases(size: str) -> Iterator[Case]:
    """All words equally often, so that most differ; and as often as in a text."""
    for shape in SHAPES[size]:
        for drawn in (EVENLY, BY_ZIPF):
            yield Case("words", f"words drawn {drawn}, {shape}", _entries(shape, drawn))


def _entries(shape: Shape, drawn: str) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        problem = make_words(shape, drawn)
        for side in (BY_COLUMNS, BY_ROWS, EMBEDDED, EMBEDDED_OURS):
            yield Entry(side, problem)

    return entries


def make_words(shape: Shape, drawn: str) -> Problem:
    generator = np.random.default_rng(0)
    base = make(replace(shape, I=shape.H), "training")
    often = 1.0 / np.arange(1, shape.I + 1) if drawn == BY_ZIPF else np.ones(shape.I)
    words = generator.choice(shape.I, (shape.T, shape.B), p=often / often.sum())
    vectors = generator.standard_normal((shape.I, shape.H), dtype=np.float32)
    return replace(base, shape=shape, x=words, weights={**base.weights, "vectors": vectors})


def in_layer(by_columns: bool, problem: Problem) -> Work:
    weights = {name: torch.from_numpy(value) for name, value in problem.weights.items()}
    vectors, of_vectors = weights.pop("vectors"), weights["weight_ih_l0"]
    layer = holdfast.LSTM(problem.shape.I, problem.shape.H, sparse_input=by_columns)
    layer.load_state_dict({**weights, "weight_ih_l0": of_vectors @ vectors.t()})

    def arrays(output: Tensor) -> Arrays:
        of_words = layer.weight_ih_l0.grad
        own = gradients(layer)
        own |= {"d_weight_ih": (of_words @ vectors).numpy(), "d_vectors": (of_words.t() @ of_vectors).numpy()}
        return {"output": output.detach().numpy(), **own}

    detail = holdfast.explain(layer, torch.from_numpy(problem.x)).partition(":")[0]
    return _training(problem, layer, layer, arrays)._replace(detail=detail)


def embedded(kind: Any, problem: Problem) -> Work:
    weights = {name: torch.from_numpy(value) for name, value in problem.weights.items()}
    embedding = nn.Embedding.from_pretrained(weights.pop("vectors"), freeze=False)
    layer = kind(problem.shape.H, problem.shape.H)
    layer.load_state_dict(weights)

    def arrays(output: Tensor) -> Arrays:
        own = {**gradients(layer), "d_vectors": gradient(embedding.weight)}
        return {"output": output.detach().numpy(), **own}

    return _training(problem, nn.ModuleList([embedding, layer]), lambda x: layer(embedding(x)), arrays)


def _training(
    problem: Problem, module: nn.Module, run: Callable[[Tensor], Any], arrays: Callable[[Tensor], Arrays]
) -> Work:
    words, upstream = torch.from_numpy(problem.x), torch.from_numpy(problem.upstream)
    parameters = list(module.parameters())

    def train() -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        output: Tensor = run(words)[0]
        output.backward(upstream)
        return output

    shape = problem.shape
    products = 3 * 2 * 4 * shape.H * (shape.H + shape.H) * shape.T * shape.B
    return Work(train, arrays, gflop=products / 1e9)


BY_COLUMNS = Side("holdfast.LSTM, sparse_input=True", "holdfast", partial(in_layer, True))
BY_ROWS = Side("holdfast.LSTM", "holdfast", partial(in_layer, False))
EMBEDDED = Side("torch.nn.Embedding + torch.nn.LSTM", "torch", partial(embedded, nn.LSTM))
EMBEDDED_OURS = Side("torch.nn.Embedding + holdfast.LSTM", "holdfast", partial(embedded, holdfast.LSTM))
