"""Which backend runs a call, and that the others say why they do not."""

from __future__ import annotations

import pytest
import torch

import holdfast
from holdfast.errors import BackendError, ConfigError
from holdfast.kernels import backends, choose
from holdfast.nn.lstm import LSTM

X = torch.zeros(3, 2, 4)


def test_auto_takes_pytorchs_fused_path_where_it_can() -> None:
    assert choose(LSTM(4, 5).request(X)).name == "torch"
    assert choose(LSTM(4, 5, cell="rnn").request(X, lengths=[3, 1])).name == "torch"
    assert choose(LSTM(4, 5, cell="peephole").request(X)).name == "reference"
    assert choose(LSTM(4, 5).request(X, return_trace=True)).name == "reference"


def test_a_backend_asked_for_by_name_runs_or_gives_its_reason() -> None:
    assert choose(LSTM(4, 5).request(X), "reference").name == "reference"
    with pytest.raises(BackendError, match=r"backend='torch' cannot run this call.*'peephole'"):
        choose(LSTM(4, 5, cell="peephole").request(X), "torch")


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, torch, reference"):
        choose(LSTM(4, 5).request(X), "fast")


def test_explain_names_the_chosen_backend_first_and_the_others_reasons() -> None:
    chosen, other = holdfast.explain(LSTM(4, 5), X).splitlines()
    assert chosen.startswith("torch: chosen")
    assert other == "reference: could run this call; torch comes first"

    chosen, other = holdfast.explain(LSTM(4, 5), X, return_trace=True).splitlines()
    assert chosen.startswith("reference: chosen")
    assert other.startswith("torch: refused: ")
    assert "gates" in other

    chosen, other = holdfast.explain(LSTM(4, 5, backend="reference"), X, lengths=[3, 1]).splitlines()
    assert chosen.startswith("reference: chosen")
    assert other == "torch: could run this call; backend='reference' was asked for"


def test_explain_of_a_call_that_cannot_run_says_so() -> None:
    lines = holdfast.explain(LSTM(4, 5, backend="torch", cell="peephole"), X).splitlines()
    assert lines[0].startswith("backend='torch' cannot run this call")
    assert "reference: could run this call" in lines


def test_doctor_sees_every_backend() -> None:
    assert [(status.name, status.available) for status in backends()] == [
        ("torch", True),
        ("reference", True),
    ]
    assert all(status.reason for status in backends())
