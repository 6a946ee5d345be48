"""The PyTorch way: torch.export records a layer once, for any batch, any number of steps and any lengths."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from layer_kinds import call_of, each_kind_and_call, layer_of, seeded
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.testing import assert_close

from holdfast.nn.lstm import LSTM

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the letters of holdfast.notation
SIZES = [(T, B), (9, 2), (2, 7)]


def exported(layer: LSTM, keywords: dict[str, Tensor], strict: bool = False) -> ExportedProgram:
    time, batch = Dim("T", min=2), Dim("B", min=2)
    open_sizes: dict[str, Any] = {"input": {0: time, 1: batch}}
    if "lengths" in keywords:
        open_sizes["lengths"] = {0: batch}
    if "reset" in keywords:
        open_sizes["reset"] = {0: time, 1: batch}
    x = torch.randn(T, B, I)
    return torch.export.export(layer, (x,), keywords, dynamic_shapes=open_sizes, strict=strict)


@each_kind_and_call
@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
def test_an_exported_layer_runs_at_other_sizes(kind: str, name: str, strict: bool) -> None:
    layer = layer_of(kind, I, H, 2, bidirectional=True).eval()
    program = exported(layer, call_of(name, T, B), strict).module()
    for steps, batch in SIZES:
        x, keywords = torch.randn(steps, batch, I), call_of(name, steps, batch)
        assert_close(program(x, **keywords), layer(x, **keywords))


def test_lengths_that_leave_no_padding_are_not_frozen() -> None:
    layer = layer_of("lstm", I, H, bidirectional=True).eval()
    program = exported(layer, {"lengths": torch.full((B,), T)}).module()
    x, keywords = torch.randn(T, B, I), call_of("lengths", T, B)
    assert_close(program(x, **keywords), layer(x, **keywords))


def test_an_exported_layer_leaves_its_parameters_open() -> None:
    layer = layer_of("peephole", I, H)
    program = exported(layer.eval(), {}).module()
    other = layer_of("peephole", I, H)
    program.load_state_dict(other.state_dict())
    x = torch.randn(T, B, I)
    assert_close(program(x), other(x))


def test_a_layer_exported_in_training_draws_new_masks_in_each_call() -> None:
    layer, x = layer_of("modified", I, H), torch.randn(T, B, I)
    program = exported(layer, {}).module()
    assert_close(seeded(program)(x), seeded(layer)(x))
    assert not torch.equal(program(x)[0], program(x)[0])


def test_an_exported_layer_is_saved_and_loaded() -> None:
    layer = layer_of("layernorm", I, H).eval()
    file = io.BytesIO()
    torch.export.save(exported(layer, call_of("lengths", T, B)), file)
    file.seek(0)
    program = torch.export.load(file).module()
    x, keywords = torch.randn(3, 5, I), call_of("lengths", 3, 5)
    assert_close(program(x, **keywords), layer(x, **keywords))
