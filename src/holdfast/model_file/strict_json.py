"""JSON without the parts that hide mistakes: no repeated keys, no NaN, no depths that exhaust the stack."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import numpy as np

from holdfast.errors import ModelFileError
from holdfast.model_file.limits import MAX_JSON_DEPTH

# Possessive, and the closing quote is optional: one pass over any text, however hostile.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_SHOWN_CHARACTERS = 60
_CHUNK = 1 << 16


class _RefusedError(Exception):
    """Carries the reason out of the parser's callbacks."""


def shown(value: object) -> str:
    """`value` as it may stand in a message: one line, no control characters, cut when long."""
    text = ascii(value) if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def decode(data: bytes, source: str) -> str:
    """The UTF-8 text in `data`, or a ModelFileError that names `source` and the first wrong byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"{source} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}): "
            "the file is damaged or is not part of a holdfast model; take a fresh copy"
        ) from None


def check_depth(text: str, source: str) -> None:
    """Refuse JSON `text` nested deeper than MAX_JSON_DEPTH, without parsing it."""
    brackets = np.frombuffer(_NO_BRACKET.sub("", _STRING.sub("", text)).encode("ascii"), np.uint8)
    depth = 0
    for start in range(0, len(brackets), _CHUNK):
        # "[" and "{" have this bit, "]" and "}" lack it
        levels = depth + np.cumsum((brackets[start : start + _CHUNK] & 2).astype(np.int32) - 1)
        depth = int(levels[-1])
        if levels.max() > MAX_JSON_DEPTH:
            raise ModelFileError(
                f"{source} is nested more than {MAX_JSON_DEPTH} levels deep; "
                "no holdfast model is written so: do not trust this file"
            )


def parse(text: str, source: str) -> Any:
    """Read JSON strictly.

    Args:
        text: the JSON text.
        source: what to call it in messages, such as `"model/config.json"`.

    Returns:
        The value; objects are dicts in the order of the text.

    Raises:
        ModelFileError: no JSON, a repeated key, a number that is not finite, a lone surrogate, or
            nesting deeper than MAX_JSON_DEPTH.
    """
    check_depth(text, source)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except _RefusedError as error:
        reason = str(error)
    except ValueError:
        reason = "a whole number has thousands of digits"
    else:
        if "\\u" in text:
            _check_value(value, source)
        return value
    raise ModelFileError(f"{source} is not valid JSON ({reason}): the file is damaged; take a fresh copy")


def dump(value: Any) -> str:
    """`value` as JSON text whose bytes depend on the value alone: sorted keys, two spaces, a final newline.

    Raises:
        ModelFileError: a key that is no string, a number that is not finite, or a type JSON lacks.
    """
    _check_value(value, "the value")
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ModelFileError(f"{where} has the key {shown(key)}; keys saved as JSON must be strings")
            _check_string(key, where)
            _check_value(item, f"{where}[{shown(key)}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_value(item, f"{where}[{index}]")
    elif isinstance(value, str):
        _check_string(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ModelFileError(f"{where} is {value}; JSON has no such number")
    elif not (value is None or isinstance(value, int | float)):
        raise ModelFileError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _check_string(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ModelFileError(
            f"{where}: {shown(text)} holds half of a surrogate pair, which is no text"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"the key {shown(repeated)} appears twice in one object")
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError(f"the number {shown(text)} is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a JSON number")
