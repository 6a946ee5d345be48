"""The model card: a page in the model's directory that says what it is, how good, on what, and for what not.

After Mitchell et al. 2019, "Model cards for model reporting".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast._version import __version__

_USE = """```python
import holdfast
model = holdfast.load("PATH/OF/THIS/DIRECTORY")
print(model.predict(["a text to classify"]))
```

or `holdfast predict PATH/OF/THIS/DIRECTORY texts.csv -o predictions.csv`.
"""

_DATA_KEYS = frozenset({"data", "train_rows", "valid_rows", "valid_data", "data_hash"})

_LIMITS = (
    "It has learnt from the data named above and nothing else.",
    "On texts of another kind, time or language expect lower scores; run `holdfast evaluate` on some first.",
    "It knows no classes but its own, and answers whatever it is given.",
    "Its probabilities are as good as the calibration error says, on texts like these.",
    "It repeats its labels, their mistakes and prejudices included: let a person decide about people.",
)


def model_card(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    *,
    verdict: Iterable[str] = (),
) -> str:
    """The text of README.md.

    Args:
        config: of the bundle; `task`, `classes`, `training` and the network's `options` are used.
        metrics: the content of metrics.json (`ScoreTable.as_dict`).
        verdict: its sentences (`ScoreTable.verdict`).

    Returns:
        Markdown, with a final newline.
    """
    training = config.get("training") or {}
    network = (config.get("options") or {}).get("network") or {}
    parts = [
        f"# {_plain(config.get('task', 'model'))} model",
        _what(config),
        "## Use",
        _USE.rstrip(),
        "## Data",
        _data(training, metrics or {}),
        "## Scores",
        _scores(metrics, verdict),
    ]
    course = {
        name: value for name, value in training.items() if name not in _DATA_KEYS and value not in ([], None)
    }
    for title, facts in (("## Training", course), ("## Network", network)):
        if facts:
            parts += [title, _bullets(facts)]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in _LIMITS)]
    return "\n\n".join(parts) + "\n"


def _what(config: Mapping[str, Any]) -> str:
    text = f"A {_plain(config.get('task', 'sequence'))} model trained with holdfast {__version__}"
    classes = config.get("classes")
    if isinstance(classes, list) and classes:
        shown = [f'"{_plain(name)}"' for name in classes[:20]]
        more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
        text += f". Its {len(classes)} classes: {', '.join(shown)}{more}"
    return text + ". The files of this directory are described in holdfast's docs/format.md."


def _data(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    rows = [
        ("train", training.get("data"), training.get("train_rows"), training.get("data_hash")),
        (
            "valid",
            training.get("valid_data", "for choosing") if "valid_rows" in training else None,
            training.get("valid_rows"),
            None,
        ),
        (metrics.get("split"), "scored", metrics.get("rows"), metrics.get("data_hash")),
    ]
    known = [row for row in rows if row[0] is not None and row[2] is not None]
    if not known:
        return "Not recorded."
    lines = ["| rows | source | number | SHA-256 of their texts and labels |", "|---|---|---:|---|"]
    for split, source, number, digest in known:
        shown = str(digest or "").removeprefix("sha256:")
        lines.append(f"| {_plain(split)} | {_plain(source or '')} | {number:,} | {_plain(shown)} |")
    return "\n".join(lines)


def _scores(metrics: Mapping[str, Any] | None, verdict: Iterable[str]) -> str:
    if not metrics or not metrics.get("predictors"):
        return "Not measured: run `holdfast evaluate` on data that the model never saw before relying on it."
    rows = (
        f"On the {metrics['rows']:,} rows of the {_plain(metrics['split'])} split, with 95 % bootstrap "
        "intervals. The last line is this model, the others are what it is compared with. All but majority "
        "are calibrated on the validation rows. The token vectors of lstm start from counts of the training "
        "rows, unless start_vectors is false."
    )
    if metrics.get("positive"):
        rows += f' f1 is that of "{_plain(metrics["positive"])}".'
    parts = [rows, _table(metrics), "\n".join(f"- {_plain(line)}" for line in verdict)]
    clean = metrics.get("without_duplicates")
    if clean:
        parts.append(
            f"Without rows whose text the model has seen in training or validation ({clean['rows']:,} left):"
        )
        parts.append(_table(clean))
    return "\n\n".join(part for part in parts if part)


def _table(metrics: Mapping[str, Any]) -> str:
    rows = metrics["predictors"]
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    lines = [
        f"| | {' | '.join(_plain(name.replace('_', ' ')) for name in names)} |",
        "|---|" + "---|" * len(names),
    ]
    for row in rows:
        cells = [_cell(row["scores"].get(name)) for name in names]
        lines.append(f"| {_plain(row['name'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    low, high = score["ci95"]
    ends = "" if low is None or high is None else f" ({low:.3f}–{high:.3f})"
    return f"{score['value']:.3f}{ends}"


def _bullets(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_plain(name).replace('_', ' ')}: {_plain(value)}" for name, value in facts.items())


def _plain(value: Any) -> str:
    """`value` in one line, with nothing in it that Markdown or HTML would act on."""
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\`*[]|":
        text = text.replace(mark, "\\" + mark)
    return text
