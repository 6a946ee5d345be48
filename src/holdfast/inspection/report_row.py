"""One row of a report, step by step: what was said, because of which steps, and what every gate did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from holdfast.inspection.attribution import Attribution, attribution
from holdfast.inspection.canvas import svg
from holdfast.inspection.gradient_flow import gradient_flow
from holdfast.inspection.heat_maps import heat_maps
from holdfast.inspection.material import ChosenRow, Material
from holdfast.inspection.objective import answer, score
from holdfast.inspection.plain import plain
from holdfast.inspection.prefixes import Prefixes, prefixes
from holdfast.inspection.subject import Reading
from holdfast.inspection.traced import strands_of
from holdfast.inspection.turns import Turns, turns, turns_figure

MOST_STEPS = 300
UNTRAINED = ("lstm", "rnn")


@dataclass(frozen=True)
class Word:
    """One step of a row as the page marks it.

    Attributes:
        text: its label.
        weight: its integrated gradient as a share of the largest one of the row, from -1 to 1.
        number: its integrated gradient.
    """

    text: str
    weight: float
    number: float


@dataclass(frozen=True)
class RowPicture:
    """A picture of a row: what it is called, how to read it, what it says, and its SVG."""

    title: str
    how: str
    says: tuple[str, ...]
    drawn: str


@dataclass(frozen=True)
class RowReport:
    """One row, step by step.

    Attributes:
        name: of the row.
        because: why it is here.
        says: what the model says.
        part_says: what the network alone says, where it is only a part of the model; else "".
        target: the label it has, where it has one.
        cut: a sentence where only the first steps were read, else "".
        output: the output that is explained.
        words: the steps, marked by their share in the answer.
        answers: what turned the answer and the cell, in sentences.
        pictures: of the row.
        numbers: all of them, as JSON has them.
    """

    name: str
    because: str
    says: str
    part_says: str
    target: str | None
    cut: str
    output: str
    words: tuple[Word, ...]
    answers: tuple[str, ...]
    pictures: tuple[RowPicture, ...]
    numbers: dict[str, Any]


def row_report(material: Material, chosen: ChosenRow, baseline: Tensor) -> RowReport:
    """Look at one row step by step.

    Args:
        material: the network.
        chosen: the row; of one with more than 300 steps, the first 300 are read.
        baseline: what stands for "nothing" at a step, `[I]`.
    """
    reading, cut = _shortened(chosen.reading)
    subject = material.subject
    output = answer(subject, reading)
    objective = None if material.exclusive else score(output)
    why = attribution(subject, reading, output, baseline=baseline, objective=objective)
    grown = prefixes(subject, reading, output, objective)
    strands = strands_of(subject, [reading])
    moved = turns(strands, 0, reading.steps)
    maps = heat_maps(strands, 0, reading.steps)
    flow = gradient_flow(subject, reading, output, objective=objective)
    untrained = {
        f"{cell}, before training": gradient_flow(
            subject.with_cell(cell), reading, output, objective=objective
        )
        for cell in UNTRAINED
    }
    pictures = (
        _picture("What the answer is made of", _WHY, [why.sentence], why.figure()),
        _picture("The answer, word by word", _GROWN, [grown.sentence], grown.figure()),
        _picture(
            "How far each step moves the memory", _MOVED, [one.sentence for one in moved], turns_figure(moved)
        ),
        *(_picture(f"Gates and states of {one.place}", _MAPS, [], one.figure(), alt=one.alt) for one in maps),
        _picture("The gradient at each step", _FLOW, flow.sentences, flow.figure(untrained)),
    )
    numbers = {
        "name": reading.name,
        "because": chosen.because,
        "says": chosen.says,
        "part_says": chosen.part_says,
        "target": reading.target,
        "steps": list(reading.steps),
        "attribution": why.as_dict(),
        "prefixes": grown.as_dict(),
        "turns": [one.as_dict() for one in moved],
        "values": [one.as_dict() for one in maps],
        "gradient_flow": {
            "this network": flow.as_dict(),
            **{name: one.as_dict() for name, one in untrained.items()},
        },
    }
    return RowReport(
        reading.name,
        chosen.because,
        chosen.says,
        chosen.part_says,
        reading.target,
        cut,
        subject.outputs[output],
        _words(why),
        _answers(reading, grown, moved),
        pictures,
        plain(numbers),
    )


_WHY = (
    "How much each step speaks for the answer (above the line) or against it (below), found in two ways "
    "that check each other: integrated gradients, and occlusion, which replaces the step by the mean of all."
)
_GROWN = (
    "What the network would say had the row ended after each step: above the line it is the answer given."
)
_MOVED = "The distance between the state before and after each step, in each layer and direction."
_MAPS = (
    "The units whose state moves most, from the first to move to the last. A gate is shut at 0 and open "
    "at 1; dark is the more shut, light the more open, over the range in use around 0.5, whose ends stand "
    "beside it, so that one that moves little shows too. The input gate lets the candidate into "
    "the cell, the forget gate keeps what is there, the output gate shows it. Red is positive, blue negative."
)
_FLOW = (
    "The size of the loss's gradient at each step, largest = 1: where it falls away, what stands there "
    "teaches the network little. A network that pools its outputs gets some gradient at each step."
)


def _shortened(reading: Reading) -> tuple[Reading, str]:
    if len(reading.steps) <= MOST_STEPS:
        return reading, ""
    first = replace(reading, steps=reading.steps[:MOST_STEPS], x=reading.x[:MOST_STEPS])
    return first, f"Of its {len(reading.steps)} steps the first {MOST_STEPS} are read here."


def _picture(title: str, how: str, says: list[str], figure: Any, alt: str = "") -> RowPicture:
    told = tuple(text if text.endswith(".") else f"{text}." for text in says)
    return RowPicture(title, how, told, svg(figure, alt or f"{title}. {' '.join(told)}"))


def _words(why: Attribution) -> tuple[Word, ...]:
    largest = float(abs(why.integrated).max()) or 1.0
    return tuple(
        Word(step, float(number) / largest, float(number))
        for step, number in zip(why.steps, why.integrated, strict=True)
    )


def _answers(reading: Reading, grown: Prefixes, moved: list[Turns]) -> tuple[str, ...]:
    texts = (grown.sentence, *(f"{reading.name}, {one.sentence}" for one in moved))
    return tuple(text if text.endswith(".") else f"{text}." for text in texts)
