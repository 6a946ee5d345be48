"""tokenizer.json: how a fitted tokeniser is written down, and what is refused when it is read back.

A JSON object with `format`, `version`, `options`, `vocabulary` (the tokens in the order of their ids, so an
id can never be out of range) and `merges` (pairs of tokens, byte-pair level only).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import ModelFileError

FORMAT = "holdfast-tokeniser"
VERSION = 1
PAD = "<pad>"
UNKNOWN = "<unk>"

MAX_FILE_CHARACTERS = 64 * 1024 * 1024
MAX_VOCABULARY = 1_000_000
MAX_TOKEN_CHARACTERS = 200


def write(options: Mapping[str, Any], vocabulary: Sequence[str], merges: Sequence[tuple[str, str]]) -> str:
    """The JSON text: the same bytes for the same tokeniser."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "options": dict(options),
        "vocabulary": list(vocabulary),
        "merges": [list(merge) for merge in merges],
    }
    return json.dumps(content, ensure_ascii=False, indent=0, sort_keys=True)


def read(content: str) -> tuple[dict[str, Any], list[str], list[tuple[str, str]]]:
    """Options, vocabulary and merges from the JSON text.

    Raises:
        ModelFileError: the text is damaged, hostile, of another format or version, or above a limit.
    """
    fields = _parse(content)
    if fields.get("format") != FORMAT:
        raise ModelFileError(f"tokenizer.json: format is {_show(fields.get('format'))}, expected {FORMAT!r}")
    if fields.get("version") != VERSION or isinstance(fields["version"], bool):
        raise ModelFileError(
            f"tokenizer.json: version is {_show(fields.get('version'))}, this holdfast reads version "
            f"{VERSION}"
        )
    wanted = {"format", "version", "options", "vocabulary", "merges"}
    if set(fields) != wanted:
        raise ModelFileError(f"tokenizer.json: has {_show(sorted(fields))}, expected {sorted(wanted)}")
    vocabulary = _vocabulary(fields["vocabulary"])
    if not isinstance(fields["options"], dict):
        raise ModelFileError(f"tokenizer.json: options is a {_kind(fields['options'])}, expected an object")
    return fields["options"], vocabulary, _merges(fields["merges"], set(vocabulary))


def _parse(content: str) -> dict[str, Any]:
    if not isinstance(content, str):
        raise ModelFileError(f"tokenizer.json: got a {_kind(content)}, expected text")
    if len(content) > MAX_FILE_CHARACTERS:
        raise ModelFileError(
            f"tokenizer.json: {len(content):,} characters; the limit is {MAX_FILE_CHARACTERS:,}"
        )
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"tokenizer.json: is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ModelFileError(f"tokenizer.json: is a {_kind(fields)}, expected an object")
    return fields


def _vocabulary(tokens: object) -> list[str]:
    if not isinstance(tokens, list):
        raise ModelFileError(f"tokenizer.json: vocabulary is a {_kind(tokens)}, expected a list of tokens")
    if len(tokens) > MAX_VOCABULARY:
        raise ModelFileError(
            f"tokenizer.json: vocabulary has {len(tokens):,} tokens; the limit is {MAX_VOCABULARY:,}"
        )
    if tokens[:2] != [PAD, UNKNOWN]:
        raise ModelFileError(
            f"tokenizer.json: vocabulary starts with {_show(tokens[:2])}, expected {[PAD, UNKNOWN]}"
        )
    seen: set[str] = set()
    for number, token in enumerate(tokens):
        _check_token(token, f"vocabulary entry {number}")
        if token in seen:
            raise ModelFileError(f"tokenizer.json: vocabulary entry {number}, {token!r}, occurs twice")
        seen.add(token)
    return tokens


def _merges(merges: object, vocabulary: set[str]) -> list[tuple[str, str]]:
    if not isinstance(merges, list):
        raise ModelFileError(f"tokenizer.json: merges is a {_kind(merges)}, expected a list of pairs")
    if len(merges) > len(vocabulary):
        raise ModelFileError(
            f"tokenizer.json: {len(merges):,} merges for a vocabulary of {len(vocabulary):,} tokens"
        )
    pairs = []
    for number, merge in enumerate(merges):
        if not isinstance(merge, list) or len(merge) != 2:
            raise ModelFileError(
                f"tokenizer.json: merge {number} is {_show(merge)}, expected a pair of tokens"
            )
        left, right = merge
        _check_token(left, f"merge {number}")
        _check_token(right, f"merge {number}")
        if not {left, right, left + right} <= vocabulary:
            raise ModelFileError(
                f"tokenizer.json: merge {number}, {_show(merge)}, uses a token outside the vocabulary"
            )
        pairs.append((left, right))
    return pairs


def _check_token(token: object, where: str) -> None:
    if not isinstance(token, str):
        raise ModelFileError(f"tokenizer.json: {where} is a {_kind(token)}, expected text")
    if not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise ModelFileError(
            f"tokenizer.json: {where} has {len(token)} characters, expected 1 to {MAX_TOKEN_CHARACTERS}"
        )
    if any("\ud800" <= character <= "\udfff" for character in token):
        raise ModelFileError(f"tokenizer.json: {where} is not valid Unicode (a lone surrogate)")


def _kind(value: object) -> str:
    return type(value).__name__


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
