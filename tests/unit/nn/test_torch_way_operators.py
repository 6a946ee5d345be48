"""The PyTorch way: the two operators keep what PyTorch asks of an operator of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from layer_kinds import call_of, each_kind_and_call, layer_of, loss_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

T, B, I, H = 4, 3, 2, 3  # noqa: E741 - the letters of holdfast.notation
OPERATORS = ("forward", "backward")
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))


class Calls(TorchDispatchMode):
    """Notes what our operators are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "holdfast":
            self.seen.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def calls_of(kind: str, name: str, device: str = "cpu") -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """The operators' calls in one step of training, with tensors that are cut off from it."""
    layer = layer_of(kind, I, H, 2, bidirectional=True, device=device)
    keywords = {key: value.to(device) for key, value in call_of(name, T, B).items()}
    x = torch.randn(T, B, I, device=device, requires_grad=True)
    with Calls() as calls:
        loss_of(layer(x, **keywords)).backward()  # type: ignore[no-untyped-call]
    return [tree_map_only(Tensor, Tensor.detach, call) for call in calls.seen]


@each_kind_and_call
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_the_operators_pass_opcheck(kind: str, name: str, device: str) -> None:
    calls = calls_of(kind, name, device)
    if not calls:  # in eager mode PyTorch's own autograd runs it
        assert kind == "lstm"
        return
    assert [call[0]._opname for call in calls] == list(OPERATORS)
    for operator, arguments, keywords in calls:
        torch.library.opcheck(operator, arguments, keywords)


@pytest.mark.parametrize("name", ["dense", "lengths"])
def test_the_operators_run_on_pytorchs_own_path(name: str) -> None:
    for operator, arguments, keywords in calls_of("lstm on the reference", name):
        names = [argument.name for argument in operator._schema.arguments]
        given = {**dict(zip(names, arguments, strict=False)), **keywords}
        expected = operator(**given)
        given["backend"] = "torch"
        if "kept" in given:
            given["kept"] = []  # it keeps nothing for the way back
        else:
            torch.library.opcheck(operator, (), given)
        found = operator(**given)
        torch.testing.assert_close(found, expected[: len(found)])


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_operators_are_found_by_name(operator: str) -> None:
    schema = str(getattr(torch.ops.holdfast, operator).default._schema)
    assert schema.startswith(f"holdfast::{operator}(str cell, str backend")
