"""The text that every tokeniser sees: one form for what reads the same."""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)


def normalise(text: str, lowercase: bool) -> str:
    """Text in Unicode NFC with single spaces and straight apostrophes, in lower case if asked.

    HTML line breaks (`<br />`) count as white space. A lone surrogate, which is no character, becomes `?`.
    """
    if not text.isascii():
        valid = text.encode("utf-8", "replace").decode("utf-8")
        text = unicodedata.normalize("NFC", valid).replace("’", "'")
    text = " ".join(_LINE_BREAK_TAG.sub(" ", text).split())
    return text.lower() if lowercase else text
