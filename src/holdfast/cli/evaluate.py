"""`holdfast evaluate`: the scores of a saved model on labelled rows."""

from __future__ import annotations


def run(
    model: str, data: str, *, text: str | None, label: str | None, encoding: str | None, json_output: bool
) -> None:
    """Score `model` on `data` and print the table, or one JSON object.

    Raises:
        InputError: the model or the data cannot be used.
    """
    import json

    from holdfast.cli import consoles
    from holdfast.cli.progress import listener
    from holdfast.cli.score_table import print_scores
    from holdfast.tasks import load

    loaded = load(model)
    table = loaded.read(data, text=text, label=label, encoding=encoding)
    watcher = listener(consoles.progress(), quiet=json_output)
    watcher.read(table.report.lines())
    scores = loaded.score(table, split="given")
    if json_output:
        print(json.dumps(scores.as_dict(), indent=2))
    else:
        print_scores(consoles.results(), scores)
