"""The command `holdfast`: its verbs, each of which imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast.errors import HoldfastError

app = typer.Typer(name="holdfast", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def about() -> None:
    """LSTM networks, complete, fast, visible and easy to ship."""


@app.command()
def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What is installed, which backends run here and why the others do not."""
    from holdfast.cli.doctor import run

    run(json_output)


def main() -> None:
    """Run the command line; what the user got wrong becomes one message and exit status 2."""
    try:
        app()
    except HoldfastError as error:
        print(f"holdfast: {error}", file=sys.stderr)
        sys.exit(2)
