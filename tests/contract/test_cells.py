"""Every cell of holdfast keeps the contract."""

from __future__ import annotations

from pathlib import Path

from contract.cell_contract import CellContract
from contract.papers import PAPERS

from holdfast.cells import CELLS


class TestLstm(CellContract):
    cell = "lstm"


class TestOriginal(CellContract):
    cell = "original"


class TestPeephole(CellContract):
    cell = "peephole"


class TestCoupled(CellContract):
    cell = "coupled"


class TestLayernorm(CellContract):
    cell = "layernorm"


class TestRnn(CellContract):
    cell = "rnn"


class TestNoInputGate(CellContract):
    cell = "no_input_gate"


class TestNoForgetGate(CellContract):
    cell = "no_forget_gate"


class TestNoOutputGate(CellContract):
    cell = "no_output_gate"


class TestNoInputActivation(CellContract):
    cell = "no_input_activation"


class TestNoOutputActivation(CellContract):
    cell = "no_output_activation"


class TestCoupledPeephole(CellContract):
    cell = "coupled_peephole"


class TestFullGateRecurrence(CellContract):
    cell = "full_gate_recurrence"


def test_no_cell_is_left_out() -> None:
    ours = {name for name, cell in CELLS.items() if cell.function.__module__.startswith("holdfast.")}
    assert ours <= PAPERS.keys()
    assert ours <= {contract.cell for contract in CellContract.__subclasses__()}


def test_the_papers_declare_what_the_cells_do() -> None:
    for name, paper in PAPERS.items():
        cell = CELLS[name]
        assert (cell.gates, cell.states) == (paper.gates, paper.states), name
        shapes = {own.name: own.shape(1) for own in cell.parameters}
        assert shapes == {
            own: (down, across) if across else (down,) for own, (down, across) in paper.own.items()
        }, name


def test_a_new_cell_takes_fewer_than_20_lines() -> None:
    text = Path(__file__).with_name("test_a_new_cell.py").read_text(encoding="utf-8")
    assert "CellContract" in text
    assert len(text.splitlines()) < 20
