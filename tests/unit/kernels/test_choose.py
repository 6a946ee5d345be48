"""Which backend runs a call, and that the others say why they do not."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import holdfast
from holdfast.errors import BackendError, ConfigError
from holdfast.kernels import backends, choose
from holdfast.nn.lstm import LSTM
from holdfast.nn.lstm_cell import LSTMCell

X = torch.zeros(3, 2, 4)
BUILT = importlib.util.find_spec("holdfast._core") is not None
# What runs a plain cell, and what runs every pointwise one.
FIRST, FIRST_OF_ALL_CELLS = ("native", "native") if BUILT else ("torch", "reference")


def test_auto_takes_the_core_where_it_can_then_pytorchs_fused_path() -> None:
    assert choose(LSTM(4, 5).request(X)).name == FIRST
    assert choose(LSTM(4, 5, cell="rnn").request(X, lengths=[3, 1])).name == FIRST
    assert choose(LSTM(4, 5, proj_size=2).request(X)).name == FIRST
    assert choose(LSTM(4, 5, cell="peephole").request(X)).name == FIRST_OF_ALL_CELLS
    assert choose(LSTM(4, 5).request(X, return_trace=True)).name == FIRST_OF_ALL_CELLS
    assert choose(LSTM(4, 5, cell="layernorm").request(X)).name == FIRST_OF_ALL_CELLS


def test_a_single_step_has_the_bits_of_pytorchs_cell_where_that_has_it() -> None:
    assert choose(LSTMCell(4, 5).request(X[0])).name == "torch"
    assert choose(LSTMCell(4, 5, cell="peephole").request(X[0])).name == FIRST_OF_ALL_CELLS


def test_a_backend_asked_for_by_name_runs_or_gives_its_reason() -> None:
    assert choose(LSTM(4, 5).request(X), "reference").name == "reference"
    with pytest.raises(BackendError, match=r"backend='torch' cannot run this call.*'peephole'"):
        choose(LSTM(4, 5, cell="peephole").request(X), "torch")


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, native, torch, reference"):
        choose(LSTM(4, 5).request(X), "fast")


def test_explain_names_the_chosen_backend_first_and_the_others_reasons() -> None:
    chosen, *others = holdfast.explain(LSTM(4, 5), X).splitlines()
    assert chosen.startswith(f"{FIRST}: chosen")
    assert others[-1] == f"reference: could run this call; {FIRST} comes first"

    chosen, *others = holdfast.explain(LSTM(4, 5), X, return_trace=True).splitlines()
    assert chosen.startswith(f"{FIRST_OF_ALL_CELLS}: chosen")
    (torchs,) = [line for line in others if line.startswith("torch: refused: ")]
    assert "gates" in torchs

    chosen, *others = holdfast.explain(LSTM(4, 5, backend="reference"), X, lengths=[3, 1]).splitlines()
    assert chosen.startswith("reference: chosen")
    assert others[-1] == "torch: could run this call; backend='reference' was asked for"


@pytest.mark.parametrize(("cell", "repacked"), [("peephole", True), ("lstm", False)])
def test_explain_says_where_a_packed_sequence_is_repacked(cell: str, repacked: bool) -> None:
    packed = pack_padded_sequence(X, torch.tensor([3, 1]))
    backend = FIRST_OF_ALL_CELLS if repacked else "torch"
    (chosen, *_) = holdfast.explain(LSTM(4, 5, cell=cell, backend=backend), packed).splitlines()
    assert ("the packed sequence is padded, run with its lengths, and packed again)" in chosen) == repacked


def test_explain_of_a_call_that_cannot_run_says_so() -> None:
    lines = holdfast.explain(LSTM(4, 5, backend="torch", cell="peephole"), X).splitlines()
    assert lines[0].startswith("backend='torch' cannot run this call")
    assert "reference: could run this call" in lines


def test_doctor_sees_every_backend() -> None:
    assert [(status.name, status.available) for status in backends()] == [
        ("native", BUILT),
        ("torch", True),
        ("reference", True),
    ]
    assert all(status.reason for status in backends())
