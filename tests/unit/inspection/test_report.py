"""The report: every section of it, its numbers, and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import holdfast
from holdfast.inspection.material import ChosenRow, Material, evenly
from holdfast.inspection.page import page
from holdfast.inspection.report import Report, check_rows, ended, inspect_network
from holdfast.inspection.report_row import MOST_STEPS
from holdfast.inspection.subject import Reading, Subject
from holdfast.training.history import EpochRow

HOSTILE = "<script>alert('&')</script>"
VOID = {"meta", "link", "br", "img", "path", "use", "image", "rect", "line"}


class Reader(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.lstm = holdfast.LSTM(3, 5, **options)
        self.head = nn.Linear(5 * (2 if self.lstm.bidirectional else 1), 2)

    def forward(self, x, lengths):
        return self.head(self.lstm(x, lengths=lengths)[0].mean(0))


def made(steps: int = 6, **options) -> Material:
    torch.manual_seed(0)
    subject = Subject.of(Reader(**options), ("no", "yes"))
    readings = [
        Reading(f"row {k}", tuple(f"w{t}" for t in range(steps)), torch.randn(steps, 1, 3), "yes")
        for k in range(4)
    ]
    hostile = replace(readings[0], name=HOSTILE, steps=(HOSTILE, *readings[0].steps[1:]))
    epochs = [EpochRow(k, 0.5 / k, 0.6 / k, 0.7, 0.1, 1.0, 0.0, 1.0) for k in (1, 2)]
    return Material(
        title=HOSTILE,
        facts={"cell": HOSTILE},
        subject=subject,
        readings=readings,
        chosen=[ChosenRow(hostile, "as asked", HOSTILE)],
        properties={"position": [np.arange(steps)] * 4},
        probabilities=np.array([[0.4, 0.6], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]]),
        targets=np.array([1, 1, 1, 0]),
        history=epochs,
        advice=["Stop earlier"],
    )


@pytest.fixture(scope="module")
def material() -> Material:
    return made(num_layers=2, bidirectional=True)


@pytest.fixture(scope="module")
def report(material: Material) -> Report:
    return inspect_network(material)


class Checked(HTMLParser):
    """Every tag that is opened is closed in order; texts, identifiers and addresses are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.names.append(value)
            if name in ("href", "src", "xlink:href"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def test_the_page_stands_alone_and_shows_hostile_texts_as_they_are(report: Report) -> None:
    checked = Checked()
    checked.feed(page(report))
    assert not checked.open
    assert "script" not in checked.tags
    assert HOSTILE in checked.text
    assert len(set(checked.names)) == len(checked.names)
    assert all(address.startswith(("#", "data:image/png")) for address in checked.addresses)
    assert {address[1:] for address in checked.addresses if address[0] == "#"} <= set(checked.names)


def test_every_part_is_on_the_page(report: Report) -> None:
    shown = page(report)
    titles = [picture.title for section in report.sections for picture in section.pictures]
    assert len(titles) == 9
    for title in [*titles, *(picture.title for picture in report.rows[0].pictures)]:
        assert f"<h3>{title}</h3>" in shown
    assert shown.count("<svg") == len(titles) + len(report.rows[0].pictures)
    assert shown.count('role="img" aria-label="') == shown.count("<svg")
    for question, texts in report.answers.items():
        assert question in shown
        assert texts
        assert all(text.endswith(".") for text in texts)


def test_it_follows_the_theme_and_prints(report: Report) -> None:
    shown = page(report)
    assert "@media (prefers-color-scheme: dark)" in shown
    assert "@media print" in shown
    assert "currentColor" in shown
    assert not re.search(r"(stroke|fill): #000000", shown)


def test_all_numbers_are_strict_json(report: Report, material: Material) -> None:
    numbers = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert numbers["format_version"] == 1
    for name in ("reach", "perturbation", "unit_effects", "following", "saturation", "time_constants"):
        assert numbers[name], name
    for name in ("spectra", "history", "calibration"):
        assert numbers[name], name
    (row,) = numbers["rows"]
    assert row["steps"][0] == HOSTILE
    values = material.subject.values([material.chosen[0].reading])[0]
    assert np.allclose(row["values"][1]["values"]["c"], values["c"][0, 1, :, 0], atol=1e-4)
    assert numbers["history"]["train_loss"] == [0.5, 0.25]
    assert set(numbers["reach"]) == {"this network", "lstm, before training", "rnn, before training"}


def test_the_network_is_as_it_was(material: Material) -> None:
    before = {name: value.clone() for name, value in material.subject.module.state_dict().items()}
    inspect_network(material)
    after = material.subject.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in material.subject.module.parameters())


@pytest.mark.parametrize("cell", ["rnn", "original", "coupled", "layernorm"])
def test_any_cell_has_a_report(cell: str) -> None:
    report = inspect_network(replace(made(cell=cell), properties={}, probabilities=None, history=()))
    assert {section.name for section in report.sections} == {"memory", "units", "gates", "weights"}
    assert "calibration" not in report.numbers
    assert "following" not in report.numbers


def test_of_a_long_row_the_first_steps_are_read() -> None:
    material = made(steps=MOST_STEPS + 20)
    few = replace(material, readings=material.readings[:1], properties={}, probabilities=None)
    report = inspect_network(few)
    assert len(report.rows[0].words) == MOST_STEPS
    assert report.rows[0].cut == f"Of its {MOST_STEPS + 20} steps the first {MOST_STEPS} are read here."
    assert report.rows[0].cut in page(report)


def test_rows_that_are_not_there_are_refused() -> None:
    assert check_rows([4, 2], [2, 3, 4], "x.csv") == [2, 0]
    with pytest.raises(holdfast.InputError, match=r"x\.csv has no row 9: its rows are 2 to 4"):
        check_rows([9], [2, 3, 4], "x.csv")


def test_small_things() -> None:
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(101, 3).tolist() == [0, 50, 100]
    assert (ended("so"), ended("so?")) == ("so.", "so?")
