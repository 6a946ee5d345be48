"""What a failure looks like on the command line: one message, an exit status, never a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from holdfast.errors import HoldfastError, InputError, MissingExtraError, TrainingInterrupted

WRONG_INPUT = 2
FAILED = 1
INTERRUPTED = 130
CLOSED_PIPE = 141

# The messages are written for Python; here the same is said in the words of the command line.
_WORDS = (
    (re.compile(r"\bencoding='([^']*)'"), r"--encoding \1"),
    (re.compile(r"\bgive text='([^']*)'"), r"give --text '\1'"),
    (re.compile(r"\ballow overwriting or give\b"), "add --overwrite or give"),
    (
        re.compile(r"Name it: (text|label)=\.\.\. in Python, --\1 on the command line"),
        r"Name it with --\1 COLUMN",
    ),
    (re.compile(r"\blabel_separator='([^']*)'"), r"--set label_separator='\1'"),
)


@contextmanager
def one_message() -> Iterator[None]:
    """Turn whatever goes wrong inside into one message on standard error and `typer.Exit`.

    With `HOLDFAST_DEBUG=1` in the environment exceptions pass through, with their traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if type(error).__module__.partition(".")[0] in {"typer", "click"}:
            raise
        if isinstance(error, BrokenPipeError):
            leave_closed_pipe()
        elif os.environ.get("HOLDFAST_DEBUG") == "1":
            raise
        else:
            print(f"error: {said(error)}", file=sys.stderr)
        raise typer.Exit(status(error)) from None


def status(error: BaseException) -> int:
    """The exit status: 2 for a wrong command or file, 1 for what went wrong later."""
    if isinstance(error, KeyboardInterrupt | TrainingInterrupted):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    return WRONG_INPUT if isinstance(error, InputError | MissingExtraError) else FAILED


def said(error: BaseException) -> str:
    """The one message about `error`."""
    if isinstance(error, HoldfastError):
        message = str(error)
        for python, words in _WORDS:
            message = python.sub(words, message)
        return message
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (
        f"this should not have happened: {type(error).__name__}: {error}. Run it again with "
        "HOLDFAST_DEBUG=1 in the environment to see where, and please report it"
    )


def leave_closed_pipe() -> None:
    """Let Python end without a word although nobody reads its output any more."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it stays open until the end
