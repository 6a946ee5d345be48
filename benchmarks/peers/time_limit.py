"""What must not take longer than so many seconds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _TimeIsUpError(BaseException):
    """Not an Exception, which what is interrupted might catch and go on."""


@contextmanager
def limited(seconds: float, doing: str) -> Iterator[None]:
    """Interrupt what takes longer; in the main thread alone, and where there are alarms.

    Raises:
        TimeoutError: it was interrupted.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeIsUpError:
        raise TimeoutError(f"{doing} took longer than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
