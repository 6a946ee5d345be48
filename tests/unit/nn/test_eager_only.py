"""What no graph can hold: gradient traces and generators say so under compilers and transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from holdfast.errors import InputError
from holdfast.nn.lstm import LSTM

X = torch.randn(6, 3, 5)
GRADIENTS = r"return_trace=.gradients. is for eager calls"
GENERATOR = "generator is for eager calls: leave it out here, and use torch.manual_seed"
CALLS = [({"return_trace": "gradients"}, GRADIENTS), ({"generator": torch.Generator()}, GENERATOR)]

# PyTorch's own: about its deprecated tracer, and of Dynamo about tensors that it takes over from eager code.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(("given", "message"), CALLS)
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_export_and_tracing_refuse_them(cell: str, given: dict[str, Any], message: str) -> None:
    layer = LSTM(5, 7, cell=cell, zoneout=0.1)
    with pytest.raises(InputError, match=message):
        torch.export.export(layer, (X,), given)
    with pytest.raises(InputError, match=message):
        torch.jit.trace(lambda x: layer(x, **given)[0], X)


@pytest.mark.parametrize(("given", "message"), CALLS)
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_a_compiler_says_it_or_lets_the_call_run_eagerly(
    cell: str, given: dict[str, Any], message: str
) -> None:
    layer = LSTM(5, 7, cell=cell, zoneout=0.1)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=message):
        torch.compile(layer, fullgraph=True, backend="eager")(X, **given)
    torch._dynamo.reset()
    output, *_, last = torch.compile(layer, backend="eager")(X, **given)
    output.sum().backward()
    if "return_trace" in given:
        assert last.gradients["f"].shape == (1, 1, 6, 3, 7)


def test_transforms_refuse_a_gradient_trace_and_take_a_generator() -> None:
    layer, generator = LSTM(5, 7, zoneout=0.1), torch.Generator()
    with pytest.raises(InputError, match=GRADIENTS):
        torch.func.grad(lambda x: layer(x, return_trace="gradients")[0].sum())(X)
    with pytest.raises(InputError, match=GRADIENTS):
        torch.func.vmap(lambda x: layer(x, return_trace="gradients")[0])(X.unsqueeze(0))
    gradient = torch.func.grad(lambda x: layer(x, generator=generator.manual_seed(3))[0].sum())
    assert torch.equal(gradient(X), gradient(X))


def test_given_weights_stay_in_the_graph() -> None:
    layer = LSTM(5, 7, 2, bidirectional=True, cell="peephole")
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X, weights=layer.weights())[0], layer(X)[0])
