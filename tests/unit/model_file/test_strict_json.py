"""Strict JSON: depth is counted outside strings only, and what is written is what is read."""

from __future__ import annotations

import pytest

from holdfast.errors import ModelFileError
from holdfast.model_file.limits import MAX_JSON_DEPTH
from holdfast.model_file.strict_json import check_depth, dump, parse, shown


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_allowed_up_to_its_limit(opening: str, closing: str) -> None:
    deep = opening * MAX_JSON_DEPTH + "1" + closing * MAX_JSON_DEPTH
    parse(deep, "x")
    with pytest.raises(ModelFileError, match="more than 32 levels"):
        parse(opening + deep + closing, "x")


def test_brackets_in_strings_do_not_count() -> None:
    assert parse('["' + "[" * 100 + '\\"[[\\\\", 1]', "x") == ["[" * 100 + '"[[\\', 1]


def test_depth_is_carried_over_long_texts() -> None:
    wide = "[" + "[]," * 1_000_000
    check_depth(wide + "1]", "x")
    with pytest.raises(ModelFileError, match="more than 32 levels"):
        check_depth(wide + "[" * MAX_JSON_DEPTH, "x")


def test_text_is_sorted_and_comes_back() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "\u2028"}}
    text = dump(value)
    assert text.startswith('{\n  "a": {\n    "é": ')
    assert text.endswith("}\n")
    assert parse(text, "x") == value


@pytest.mark.parametrize(
    "text", ["", "{", "nul", "[1,]", "{'a': 1}", '{"a": 1} x', "-Infinity", "[1e400]", "\ufeff{}"]
)
def test_what_is_not_json_is_named_with_its_file(text: str) -> None:
    with pytest.raises(ModelFileError, match=r"^m/config\.json is not valid JSON"):
        parse(text, "m/config.json")


def test_values_in_messages_are_one_short_line() -> None:
    assert shown("a\nb\x1b[0m") == "'a\\nb\\x1b[0m'"
    assert len(shown("x" * 1000)) < 70
