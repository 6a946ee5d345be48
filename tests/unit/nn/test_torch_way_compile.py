"""The PyTorch way: a call is one graph for torch.compile, which open sizes do not compile again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_kinds import call_of, each_kind, each_kind_and_call, layer_of, loss_of, seeded
from torch import Tensor, nn
from torch.testing import assert_close

from holdfast.nn.lstm_cell import LSTMCell

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the letters of holdfast.notation


@pytest.fixture(autouse=True)
def _nothing_is_compiled_yet() -> None:
    torch._dynamo.reset()


def compiled(layer: nn.Module, **options: Any) -> Callable[..., Any]:
    return torch.compile(layer, **{"backend": "aot_eager", "fullgraph": True, **options})


def trained(
    call: Callable[..., Any], layer: nn.Module, x: Tensor, keywords: dict[str, Tensor]
) -> list[Tensor]:
    """Output, final state and every gradient of one step of training."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    result = seeded(call)(x, **keywords)
    loss_of(result).backward()
    gradients = [own.grad for own in (x, *layer.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [result[0].detach(), *(part.detach() for part in result[1]), *gradients]  # type: ignore[list-item]


@each_kind_and_call
def test_training_is_one_graph_that_equals_eager_mode(kind: str, name: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I)
    keywords = call_of(name, T, B)
    assert_close(trained(compiled(layer), layer, x, keywords), trained(layer, layer, x, keywords))


@pytest.mark.parametrize("kind", ["lstm", "modified"])
def test_evaluation_is_one_graph_that_equals_eager_mode(kind: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True).eval(), torch.randn(T, B, I)
    call = compiled(layer)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(call(x), layer(x))


@pytest.mark.parametrize(
    "options",
    [
        {"proj_size": 2, "batch_first": True, "learn_initial_state": True},
        {"residual": True, "dropout": 0.4},
        {"weight_drop": 0.4, "recurrent_dropout": 0.4},
    ],
    ids=str,
)
def test_each_option_is_compiled(options: dict[str, Any]) -> None:
    layer, x = layer_of("peephole", I, H, 2, **options), torch.randn(4, 4, I)
    assert_close(trained(compiled(layer), layer, x, {}), trained(layer, layer, x, {}))


def test_a_given_state_is_compiled() -> None:
    layer, x = layer_of("lstm", I, H), torch.randn(T, B, I)
    state = torch.randn(1, B, H), torch.randn(1, B, H)
    assert_close(compiled(layer)(x, state), layer(x, state))


@pytest.mark.parametrize("kind", ["lstm", "modified"])
def test_a_trace_is_compiled(kind: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I)
    found = seeded(compiled(layer))(x, return_trace=True)
    expected = seeded(layer)(x, return_trace=True)
    assert_close(found[:2], expected[:2])
    assert_close(dict(found[2]), dict(expected[2]))


def test_a_compiled_layer_draws_new_masks_in_each_call() -> None:
    layer, x = layer_of("modified", I, H), torch.randn(T, B, I)
    call = compiled(layer)
    first, second = call(x)[0], call(x)[0]
    assert not torch.equal(first, second)
    layer.eval()
    assert_close(call(x), layer(x))


@pytest.mark.parametrize("cell", ["lstm", "layernorm"])
def test_a_single_cell_and_a_step_are_compiled(cell: str) -> None:
    single, x = LSTMCell(I, H, cell=cell, zoneout=0.3), torch.randn(B, I)
    own = list(single.parameters())
    found, expected = seeded(compiled(single))(x), seeded(single)(x)
    assert_close(found, expected)
    sums = [h.sum() + c.square().sum() for h, c in (found, expected)]
    assert_close(*(torch.autograd.grad(number, own) for number in sums))

    layer = layer_of("peephole", I, H, 2)
    step = torch.compile(layer.step, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        output, state = step(x)
        assert_close(step(x, state), layer.step(x, layer.step(x)[1]))
        assert_close(output, layer(x.unsqueeze(0))[0][0])


def test_a_whole_step_with_its_loss_is_one_graph() -> None:
    layer, x = layer_of("layernorm", I, H, 2), torch.randn(T, B, I)
    whole = torch.compile(lambda x: loss_of(layer(x)), backend="aot_eager", fullgraph=True)
    found = torch.autograd.grad(whole(x), list(layer.parameters()))
    assert_close(found, torch.autograd.grad(loss_of(layer(x)), list(layer.parameters())))


@each_kind_and_call
def test_other_sizes_are_not_compiled_again(kind: str, name: str) -> None:
    graphs: list[Any] = []

    def counting(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    layer = layer_of(kind, I, H, 2, bidirectional=True)
    call = compiled(layer, backend=counting, dynamic=True)
    seen = []
    for steps, batch in [(T, B), (9, 2), (3, 7)]:
        x, keywords = torch.randn(steps, batch, I), call_of(name, steps, batch)
        assert_close(trained(call, layer, x, keywords), trained(layer, layer, x, keywords))
        seen.append(len(graphs))
    assert seen[0] > 0
    assert len(set(seen)) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # inductor's own
@each_kind
def test_inductor_equals_eager_mode(kind: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True), torch.randn(T, B, I)
    with torch._inductor.config.patch(fallback_random=True):  # its own random numbers are others
        found = trained(compiled(layer, backend="inductor"), layer, x, call_of("lengths", T, B))
    assert_close(found, trained(layer, layer, x, call_of("lengths", T, B)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@each_kind_and_call
def test_training_on_cuda_is_one_graph_that_equals_eager_mode(kind: str, name: str) -> None:
    layer, x = layer_of(kind, I, H, 2, bidirectional=True, device="cuda"), torch.randn(T, B, I, device="cuda")
    keywords = {key: value.cuda() for key, value in call_of(name, T, B).items()}
    assert_close(trained(compiled(layer), layer, x, keywords), trained(layer, layer, x, keywords))
