"""Write docs/sample_report.md and its pictures: what the demo's trained model does with film reviews.

    holdfast demo
    python docs/sample_report.py --model holdfast-demo/model --data holdfast-demo/movie_reviews.csv

`holdfast inspect` shows all of it on one page; this picks what fits into a page of the documentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import holdfast
from holdfast.inspection.attribution import attribution
from holdfast.inspection.canvas import png
from holdfast.inspection.following import following, following_figure
from holdfast.inspection.heat_maps import heat_maps
from holdfast.inspection.idle import unit_effects, unit_effects_figure
from holdfast.inspection.material import evenly
from holdfast.inspection.perturbation import perturbation
from holdfast.inspection.prefixes import prefixes
from holdfast.inspection.reach import reach
from holdfast.inspection.traced import strands_of
from holdfast.inspection.turns import turns
from holdfast.tasks.text_classification.inspect import properties_of, readings_of, subject_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from holdfast.tasks.text_classification.model import TextModel

HERE = Path(__file__).parent
PAGE, PICTURES = HERE / "sample_report.md", HERE / "sample_report"
SENTENCE = "it is not a bad film , and the ending is quite moving"
COLOURS = 256
ROWS, FEW_ROWS, MOST_ROWS = 24, 12, 200
HEAD = """# A sample report

What `holdfast inspect` shows of the demo's sentiment model, in short: written by
`python docs/sample_report.py` from the model that `holdfast demo` trains on 10,662 film reviews ({facts}).
On your machine `holdfast inspect model reviews.csv -o report.html` puts all of it, and more, on one page that
works without a network; [inspection.md](inspection.md) says what each measure is.
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="the directory of a trained sentiment model")
    parser.add_argument("--data", required=True, help="its reviews")
    chosen = parser.parse_args()
    model: TextModel = holdfast.load(chosen.model)
    PICTURES.mkdir(exist_ok=True)
    network = model.options.network
    facts = f"cell {network.cell}, {network.hidden} units in each direction"
    parts = [HEAD.format(facts=facts), *one_sentence(model), *many_rows(model, chosen.data)]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def one_sentence(model: TextModel) -> list[str]:
    """What the network does with one sentence."""
    subject = subject_of(model)
    table = model.read([SENTENCE], need_labels=False)
    (read,) = readings_of(model, table)
    reading = replace(read, name="this sentence")
    strands = strands_of(subject, [reading])
    why = attribution(subject, reading)
    grown = prefixes(subject, reading)
    (probability,) = model.predict_proba([SENTENCE])
    best = int(probability.argmax())
    maps = heat_maps(strands, 0, reading.steps)[0]
    return [
        "## Which word turned the cell?\n",
        f"> {SENTENCE}\n",
        f"The model says **{model.classes[best]}**, {probability[best]:.0%}.\n",
        *told([grown.sentence, why.sentence, *(one.sentence for one in turns(strands, 0, reading.steps))]),
        picture("attribution", "What each word contributes to the answer", why.figure()),
        picture(
            "prefixes", "What the network would say had the sentence ended after each word", grown.figure()
        ),
        "\nThe gates and states of the units that move most, word by word: the input gate lets the",
        "candidate into the cell, the forget gate keeps what is there, the output gate shows it.\n",
        picture("gates", maps.alt, maps.figure()),
    ]


def many_rows(model: TextModel, data: str) -> list[str]:
    """What the network does over many reviews."""
    subject = subject_of(model)
    table = model.read(data)
    readings = readings_of(model, table, evenly(len(table.texts), MOST_ROWS).tolist())
    few = [readings[k] for k in evenly(len(readings), FEW_ROWS)]
    looked = reach(subject, few)
    untrained = {f"{cell}, before training": reach(subject.with_cell(cell), few) for cell in ("lstm", "rnn")}
    effects = unit_effects(subject, [readings[k] for k in evenly(len(readings), ROWS)])
    follows = following(strands_of(subject, readings), properties_of(model, readings))
    return [
        "\n## How many steps back does it remember?\n",
        *told([*looked.sentences, perturbation(subject, few).sentence]),
        picture(
            "reach",
            "How much of a change arrives in the last state, over the steps between",
            looked.figure(untrained),
        ),
        "\nBeside the trained network stands the same one before training, with its LSTM and with a plain",
        "RNN: what they were given a few words earlier hardly reaches the end.",
        "\n## Which units do nothing?\n",
        *told([one.sentence for one in effects]),
        picture("idle", "The change of the scores without each unit", unit_effects_figure(effects)),
        "\n## Which units follow what?\n",
        *told([one.sentence for one in follows]),
        picture("following", "The units that follow a property of the words", following_figure(follows)),
        "",
    ]


def told(sentences: Sequence[str]) -> list[str]:
    """Sentences as a list."""
    return [*(f"- {sentence.rstrip('.')}." for sentence in sentences), ""]


def picture(name: str, alt: str, figure: Figure) -> str:
    """Keep a picture, and show it."""
    (PICTURES / f"{name}.png").write_bytes(png(figure, COLOURS))
    return f"![{alt}]({PICTURES.name}/{name}.png)"


if __name__ == "__main__":
    main()
