"""Recomputation in the operators: what compilers, exporters and transforms see of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from holdfast.kernels import native
from holdfast.nn.lstm import LSTM

B, I, H = 4, 3, 5  # noqa: E741 - the letters of holdfast.notation
needs_recompute = pytest.mark.skipif(isinstance(native._core, str), reason="the compiled core is not here")


def layer_of(**options: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(I, H, 2, cell="peephole", **options)


class Calls(TorchDispatchMode):
    """Notes what our operators are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "holdfast":
            self.seen.append(tree_map_only(Tensor, Tensor.detach, (func, args, kwargs or {})))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("backend", ["reference", pytest.param("native", marks=needs_recompute)])
class TestTheOperators:
    @pytest.mark.parametrize("recompute", [3, 100, True])
    def test_they_pass_opcheck(self, backend: str, recompute: int | bool) -> None:
        layer = layer_of(bidirectional=True, recompute=recompute, backend=backend)
        x = torch.randn(4, B, I, requires_grad=True)
        with Calls() as calls:
            layer(x)[0].square().sum().backward()
        assert [call[0]._opname for call in calls.seen] == ["forward", "backward"]
        for operator, arguments, keywords in calls.seen:
            torch.library.opcheck(operator, arguments, keywords)

    @pytest.mark.parametrize("recompute", [4, True])
    def test_a_compiled_layer_takes_any_number_of_steps(self, backend: str, recompute: int | bool) -> None:
        """Below, at and above k, without being compiled again."""
        torch._dynamo.reset()
        graphs: list[object] = []
        seen = []

        def counted(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
            graphs.append(graph)
            return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)  # type: ignore[no-any-return]

        layer = layer_of(recompute=recompute, backend=backend)
        compiled = torch.compile(layer, backend=counted, fullgraph=True, dynamic=True)
        for steps in (13, 4, 5, 3, 2, 20, 60):
            x, found = torch.randn(steps, 7, I), []
            for call in (compiled, layer):
                loss = call(x)[0].square().sum()
                found.append(torch.autograd.grad(loss, list(layer.parameters())))
            assert all(map(torch.equal, *found)), steps
            seen.append(len(graphs))
        assert seen[0] > 0
        assert len(set(seen)) == 1

    @pytest.mark.parametrize("recompute", [4, True])
    def test_an_exported_layer_takes_any_number_of_steps(self, backend: str, recompute: int | bool) -> None:
        layer = layer_of(recompute=recompute, backend=backend).eval()
        open_sizes = {"input": {0: torch.export.Dim("T", min=2), 1: torch.export.Dim("B", min=2)}}
        program = torch.export.export(layer, (torch.randn(6, B, I),), dynamic_shapes=open_sizes)
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        for steps in (2, 3, 6, 30):
            x = torch.randn(steps, 7, I)
            assert torch.equal(loaded(x)[0], layer(x)[0])

    def test_transforms(self, backend: str) -> None:
        layer, x = layer_of(backend=backend), torch.randn(5, 7, B, I)

        def loss(x: Tensor) -> Tensor:
            return layer(x)[0].square().sum()

        found = []
        for layer.recompute in (None, 3, True):
            found.append(torch.func.vmap(torch.func.grad(loss))(x))
        assert torch.equal(found[1], found[0])
        assert torch.equal(found[2], found[0])
