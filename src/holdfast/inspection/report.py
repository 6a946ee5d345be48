"""Everything that can be seen of a network, as sections of pictures, sentences and numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from holdfast._version import __version__
from holdfast.errors import InputError
from holdfast.inspection.calibration import calibration
from holdfast.inspection.canvas import svg
from holdfast.inspection.following import following, following_figure
from holdfast.inspection.history import history_of
from holdfast.inspection.idle import UnitEffects, unit_effects, unit_effects_figure
from holdfast.inspection.material import Material, evenly
from holdfast.inspection.perturbation import Perturbation, mean_input, perturbation
from holdfast.inspection.plain import plain
from holdfast.inspection.reach import Reach, reach
from holdfast.inspection.report_row import RowReport, row_report
from holdfast.inspection.saturation import saturation, saturation_figure
from holdfast.inspection.spectra import spectra, spectra_figure
from holdfast.inspection.strands import Strand
from holdfast.inspection.subject import Reading
from holdfast.inspection.time_constants import time_constants, time_constants_figure
from holdfast.inspection.traced import strands_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT_VERSION = 1
MEASURED_ROWS, REACH_ROWS, EFFECT_ROWS = 200, 12, 24
MOST_UNITS_TRIED = 128
UNTRAINED = ("lstm", "rnn")

Told = Callable[[str], None]


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        name: its key in the report's JSON file.
        title: above it.
        how: how to read it, in a sentence or two.
        says: what it shows here, in sentences.
        drawn: the picture as SVG.
    """

    name: str
    title: str
    how: str
    says: tuple[str, ...]
    drawn: str


@dataclass(frozen=True)
class Section:
    """Pictures under one heading."""

    name: str
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Report:
    """What was seen.

    Attributes:
        title: of the page.
        facts: about the network.
        answers: the three questions and what the measures say of them, in sentences.
        rows: the chosen rows, step by step.
        sections: everything else.
        numbers: all numbers, by name, as JSON has them.
    """

    title: str
    facts: Mapping[str, str]
    answers: Mapping[str, tuple[str, ...]]
    rows: tuple[RowReport, ...]
    sections: tuple[Section, ...]
    numbers: Mapping[str, Any]

    def to_json(self) -> str:
        """All numbers; `docs/inspection.md` has the names."""
        return json.dumps(self.numbers, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


@dataclass
class _Found:
    """What has been measured so far."""

    numbers: dict[str, Any] = field(default_factory=dict)

    def picture(
        self, name: str, title: str, how: str, says: Sequence[str], figure: Figure, numbers: Any
    ) -> Picture:
        self.numbers[name] = numbers
        return Picture(name, title, how, tuple(map(ended, says)), svg(figure, f"{title}. {' '.join(says)}"))


def inspect_network(material: Material, told: Told = lambda _: None) -> Report:
    """Measure everything, and draw it.

    Args:
        material: the network and the rows.
        told: called with a few words before each part, which may take seconds.

    Raises:
        InputError: the rows do not fit the network.
        MissingExtraError: matplotlib is not installed.
    """
    found = _Found()
    readings = [material.readings[k] for k in evenly(len(material.readings), MEASURED_ROWS)]
    told(f"reading {len(readings)} rows")
    strands = strands_of(material.subject, readings)
    some = [readings[k] for k in evenly(len(readings), REACH_ROWS)]
    told("how far back it looks")
    looked = reach(material.subject, some)
    changed = perturbation(material.subject, some)
    told("what each unit does")
    tried = set(evenly(len(readings), EFFECT_ROWS).tolist())
    effects = unit_effects(
        material.subject,
        [readings[k] for k in sorted(tried)],
        MOST_UNITS_TRIED,
        [reading for k, reading in enumerate(readings) if k not in tried],
    )
    baseline = mean_input(readings)
    rows = []
    for number, chosen in enumerate(material.chosen, 1):
        told(f"row {number} of {len(material.chosen)}, step by step")
        rows.append(row_report(material, chosen, baseline))
    told("gates, weights, training")
    sections = (
        Section("memory", "How far back it looks", tuple(_memory(found, material, some, looked, changed))),
        Section("units", "What the units do", tuple(_units(found, material, readings, strands, effects))),
        Section("gates", "How the gates are used", tuple(_gates(found, strands))),
        Section("weights", "Weights and training", tuple(_training(found, material))),
    )
    answers = {
        "Which word turned the cell?": tuple(text for row in rows for text in row.answers),
        "How many steps back does it remember?": tuple(map(ended, (*looked.sentences, changed.sentence))),
        "Which units do nothing?": tuple(ended(one.sentence) for one in effects),
        "What should be tried?": tuple(map(ended, material.what_to_try)),
    }
    numbers = {
        "format_version": FORMAT_VERSION,
        "holdfast": __version__,
        "torch": str(torch.__version__),
        "title": material.title,
        "facts": dict(material.facts),
        "answers": {question: list(texts) for question, texts in answers.items()},
        "rows": [row.numbers for row in rows],
        **plain(found.numbers),
    }
    shown = tuple(section for section in sections if section.pictures)
    return Report(material.title, material.facts, answers, tuple(rows), shown, numbers)


def ended(sentence: str) -> str:
    """A sentence with a full stop."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _memory(
    found: _Found, material: Material, some: Sequence[Reading], looked: Reach, changed: Perturbation
) -> Iterator[Picture]:
    untrained = {
        f"{cell}, before training": reach(material.subject.with_cell(cell), some) for cell in UNTRAINED
    }
    yield found.picture(
        "reach",
        "Gradients of the last state, over the steps between",
        "How much of a small change of an earlier state (or input) arrives in the last state: 1 is “kept as "
        "it was”, a falling line is forgetting, and on this scale a straight one vanishes by the same "
        "factor at each step. Beside the network stands the same one before training, with its LSTM and "
        "with a plain RNN.",
        looked.sentences,
        looked.figure(untrained),
        {"this network": looked.as_dict(), **{name: one.as_dict() for name, one in untrained.items()}},
    )
    yield found.picture(
        "perturbation",
        "One input replaced",
        "The input of one step is replaced by the mean of all, and everything after it is read again: how "
        "much the last states and the scores change, as a share of the change when all inputs are replaced.",
        [changed.sentence],
        changed.figure(),
        changed.as_dict(),
    )


def _units(
    found: _Found,
    material: Material,
    readings: Sequence[Reading],
    strands: Sequence[Strand],
    effects: Sequence[UnitEffects],
) -> Iterator[Picture]:
    yield found.picture(
        "unit_effects",
        "Units silenced",
        "Each unit in turn is made to say nothing: how much the scores change, from the least important "
        "unit on. The marked ones can all be silenced at once while the scores change by less than 1 % and "
        "no answer flips.",
        [one.sentence for one in effects],
        unit_effects_figure(effects),
        [one.as_dict() for one in effects],
    )
    index = {id(reading): place for place, reading in enumerate(material.readings)}
    properties = {
        name: [rows[index[id(reading)]] for reading in readings] for name, rows in material.properties.items()
    }
    follows = following(strands, properties) if properties else []
    if follows:
        yield found.picture(
            "following",
            "Units that follow something",
            "The gates and states whose correlation with a property of the steps is largest. A bar up to the "
            "dotted line is what the best of all units reaches by chance.",
            [one.sentence for one in follows],
            following_figure(follows),
            [one.as_dict() for one in follows],
        )


def _gates(found: _Found, strands: Sequence[Strand]) -> Iterator[Picture]:
    shares = saturation(strands)
    if shares:
        yield found.picture(
            "saturation",
            "How open the gates are",
            "Histograms over all units and steps. What is always at an end of its range does not decide "
            "anything, and lets little gradient through.",
            [one.sentence for one in shares if one.value in strands[0].gates],
            saturation_figure(shares),
            [one.as_dict() for one in shares],
        )
    memories = time_constants(strands)
    yield found.picture(
        "time_constants",
        "Memory length of each unit",
        "-1 / mean log f: the steps until 1/e is left of what a unit took in, if nothing else is added. "
        "What goes round from unit to unit through h can last longer: see how far back the network looks.",
        [one.sentence for one in memories],
        time_constants_figure(memories),
        [one.as_dict() for one in memories],
    )


def _training(found: _Found, material: Material) -> Iterator[Picture]:
    blocks = spectra(material.subject)
    yield found.picture(
        "spectra",
        "Spectra of the weights",
        "Singular values of each gate's weights, the largest first: a few large ones say that the gate "
        "listens to few directions of its input.",
        [],
        spectra_figure(blocks),
        [one.as_dict() for one in blocks],
    )
    if material.history:
        course = history_of(material.history)
        yield found.picture(
            "history",
            "The training",
            "Losses, accuracy and gradients of each epoch; the dotted line is the epoch whose weights were "
            "kept.",
            [course.sentence, *(material.advice or ())],
            course.figure(),
            course.as_dict(),
        )
    if material.probabilities is not None and material.targets is not None:
        sure = calibration(material.probabilities, material.targets)
        yield found.picture(
            "calibration",
            "Is it as often right as it says?",
            "Answers sorted by how sure the model is of them, against the share that is right; on the "
            "diagonal the two agree.",
            [sure.sentence],
            sure.figure(),
            sure.as_dict(),
        )


def check_rows(rows: Sequence[int], present: Sequence[int], source: str) -> list[int]:
    """Where the rows that were asked for stand.

    Args:
        rows: numbers of rows, as messages name them.
        present: the numbers of the rows that are there.
        source: what holds them.

    Raises:
        InputError: a row is not there.
    """
    index = {row: place for place, row in enumerate(present)}
    missing = [row for row in rows if row not in index]
    if missing:
        raise InputError(f"{source} has no row {missing[0]}: its rows are {min(present)} to {max(present)}")
    return [index[row] for row in rows]
