from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.bundled import movie_reviews
from holdfast.data.table import read_texts
from holdfast.errors import ConfigError, DataError, MissingExtraError, ModelFileError
from holdfast.features import token_file
from holdfast.features.tokens import Level, Tokeniser, TokenOptions

LEVELS = get_args(Level)
REVIEWS = read_texts(movie_reviews()).texts[:1500]


def fitted(level: Any, **options: Any) -> Tokeniser:
    return Tokeniser.fit(REVIEWS, TokenOptions(level=level, **options))


FITTED = {level: fitted(level, vocabulary=2000) for level in LEVELS}


def words(text: str, **options: Any) -> list[str]:
    return Tokeniser.fit([text], TokenOptions(min_count=1, **options)).tokens(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's GREAT, isn't it?", ["it", "'s", "great", ",", "is", "n't", "it", "?"]),
        ("can’t won't they'd we'll", ["ca", "n't", "wo", "n't", "they", "'d", "we", "'ll"]),
        ("a<br /><br/>b<BR>c < d", ["a", "b", "c", "<", "d"]),
        ("wait... 10,000.50 too-tepid!!", ["wait", "...", "10,000.50", "too", "-", "tepid", "!", "!"]),
        ("cafe\u0301 CAFÉ 東京☃", ["café", "café", "東", "京", "☃"]),
        ("<pad> <unk>", ["<", "pad", ">", "<", "unk", ">"]),
        ("the '90s o'clock", ["the", "'", "90s", "o", "'", "clock"]),
    ],
)
def test_words_are_cut_as_a_reader_would(text: str, tokens: list[str]) -> None:
    assert words(text) == tokens


def test_case_is_kept_when_asked() -> None:
    assert words("Big BIG big", lowercase=False) == ["Big", "BIG", "big"]
    assert Tokeniser.fit(["aAbB"], TokenOptions("character", lowercase=False, min_count=1)).size == 6


def test_ids_follow_frequency_and_then_text() -> None:
    tokeniser = Tokeniser.fit(["b b b a a c c d", "e e e e"], TokenOptions())
    assert tokeniser.vocabulary == {"<pad>": 0, "<unk>": 1, "e": 2, "b": 3, "a": 4, "c": 5}
    assert [ids.tolist() for ids in tokeniser.encode(["a d b", "", "z"])] == [[4, 1, 3], [1], [1]]
    assert tokeniser.tokens("a d b") == ["a", "d", "b"]
    assert tokeniser.tokens(" ") == ["<unk>"]
    characters = Tokeniser.fit(["ba bb"], TokenOptions("character", min_count=1, vocabulary=4))
    assert characters.vocabulary == {"<pad>": 0, "<unk>": 1, "b": 2, " ": 3}


def test_the_vocabulary_has_a_most_and_words_a_least_count() -> None:
    counts: dict[str, int] = {}
    everything = Tokeniser.fit(REVIEWS, TokenOptions(min_count=1))
    for ids in everything.encode(REVIEWS):
        for index in ids.tolist():
            counts[index] = counts.get(index, 0) + 1
    expected = 2 + sum(count >= 3 for count in counts.values())
    assert fitted("word", min_count=3).size == expected
    for level in LEVELS:
        assert fitted(level, vocabulary=30).size == 30


@pytest.mark.parametrize("level", LEVELS)
def test_two_fits_are_the_same_bytes_in_any_order_of_texts(level: Any) -> None:
    first = FITTED[level].to_json()
    again = Tokeniser.fit(REVIEWS[::-1], TokenOptions(level=level, vocabulary=2000)).to_json()
    assert first == again


@pytest.mark.parametrize("level", LEVELS)
def test_json_gives_the_tokeniser_back(level: Any) -> None:
    tokeniser = FITTED[level]
    restored = Tokeniser.from_json(tokeniser.to_json())
    assert restored.to_json() == tokeniser.to_json()
    assert restored.options == tokeniser.options
    for ids, same in zip(tokeniser.encode(REVIEWS), restored.encode(REVIEWS), strict=True):
        np.testing.assert_array_equal(ids, same)


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60)
@given(text=st.text(st.characters(codec=None), max_size=60))
def test_any_text_has_ids_in_range_and_a_piece_for_each(level: Any, text: str) -> None:
    tokeniser = FITTED[level]
    (ids,) = tokeniser.encode([text])
    assert ids.dtype == np.int32
    assert len(ids) >= 1
    assert 1 <= ids.min() <= ids.max() < tokeniser.size
    pieces = tokeniser.tokens(text)
    assert len(pieces) == len(ids)
    known = tokeniser.vocabulary
    for piece, index in zip(pieces, ids.tolist(), strict=True):
        assert index == known.get(piece, 1)


def test_byte_pairs_put_words_together_again() -> None:
    pieces = FITTED["bpe"].tokens("the unbelievable film isn't watchable")
    assert "".join(pieces).replace("▁", " ").strip() == "the unbelievable film isn't watchable"
    assert len(pieces) > 6


def test_many_texts_are_encoded_as_one_by_one() -> None:
    tokeniser = FITTED["word"]
    together = tokeniser.encode(REVIEWS * 2)
    assert len(together) == 3000
    for at in (0, 999, 1000, 2999):
        np.testing.assert_array_equal(together[at], tokeniser.encode([(REVIEWS * 2)[at]])[0])


@pytest.mark.parametrize("level", LEVELS)
def test_cut_texts_are_counted(level: Any) -> None:
    tokeniser = Tokeniser.fit(["a b c a b c"], TokenOptions(level, min_count=1, max_tokens=2))
    encoded, cut = tokeniser.encode_counting(["a b c", "a", ""])
    assert [len(ids) for ids in encoded] == [2, 1, 1]
    assert cut == 1
    assert len(tokeniser.tokens("a b c")) == 2
    assert FITTED[level].encode_counting(["a b c"])[1] == 0


def test_texts_without_a_frequent_token_are_refused() -> None:
    for level in LEVELS:
        with pytest.raises(
            DataError, match=rf"the 1 training texts have no {level} that occurs at least 2 times"
        ):
            Tokeniser.fit(["abc"], TokenOptions(level=level))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "syllable"}, "one of word, character, bpe"),
        ({"vocabulary": 2}, "vocabulary is 2; it must be at least 3"),
        ({"min_count": 0}, "min_count is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenOptions(**options)


def damaged(**changes: Any) -> str:
    content = json.loads(Tokeniser.fit(["ab ab ab"], TokenOptions("bpe")).to_json())
    options = changes.pop("options", {})
    content.update(changes)
    if isinstance(options, dict):
        content["options"].update(options)
    else:
        content["options"] = options
    return json.dumps(content)


START = ["<pad>", "<unk>"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"version": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[]", "is a list, expected an object"),
        (b"{}", "got a bytes"),
        ("{}", "format is None"),
        (damaged(format="other"), "format is 'other'"),
        (damaged(version=2), "version is 2"),
        (damaged(version=True), "version is True"),
        (damaged(extra=1), "extra"),
        (damaged(vocabulary={"a": 1}), "vocabulary is a dict"),
        (damaged(vocabulary=[]), "vocabulary starts with"),
        (damaged(vocabulary=["<unk>", "<pad>", "a"]), "vocabulary starts with"),
        (damaged(vocabulary=[*START, 7]), "entry 2 is a int"),
        (damaged(vocabulary=[*START, ""]), "entry 2 has 0 characters"),
        (damaged(vocabulary=[*START, "a" * 201]), "entry 2 has 201 characters"),
        (damaged(vocabulary=[*START, "a", "a"]), "entry 3, 'a', occurs twice"),
        (damaged(vocabulary=[*START, "\ud800"]), "surrogate"),
        (damaged(vocabulary=[*START, "a", "b"], merges=[]) + "x", "not valid JSON"),
        (damaged(merges={}), "merges is a dict"),
        (damaged(merges=[["a"]]), "merge 0"),
        (damaged(merges=[["a", 1]]), "merge 0 is a int"),
        (damaged(merges=[["a", "zz"]]), "outside the vocabulary"),
        (damaged(merges=[["a", "b"]] * 100), "100 merges"),
        (damaged(options={"level": "word"}), "only bpe has them"),
        (damaged(options={"level": "syllable"}), "one of word, character, bpe"),
        (damaged(options={"lowercase": 1}), "lowercase is a int"),
        (damaged(options={"vocabulary": True}), "vocabulary is a bool"),
        (damaged(options={"vocabulary": 3}), "more than its own limit of 3"),
        (damaged(options={"vocabulary": 10**9}), "it must be"),
        (damaged(options={"min_count": "2"}), "min_count is a str"),
        (damaged(options={"unknown": 1}), "unknown"),
        (damaged(options=[]), "options is a list"),
    ],
)
def test_damaged_or_hostile_json_is_refused(content: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=r"tokenizer\.json") as caught:
        Tokeniser.from_json(content)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_json_above_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = FITTED["word"].to_json()
    monkeypatch.setattr(token_file, "MAX_VOCABULARY", 100)
    with pytest.raises(ModelFileError, match="2,000 tokens; the limit is 100"):
        Tokeniser.from_json(content)
    monkeypatch.setattr(token_file, "MAX_FILE_CHARACTERS", 1000)
    with pytest.raises(ModelFileError, match="the limit is 1,000"):
        Tokeniser.from_json(content)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match="a tokeniser needs the package 'tokenizers'"):
        Tokeniser.fit(["a a"])


def _encode_in_child(text: str) -> list[int]:
    return FITTED["word"].encode([text] * 3)[0].tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_encodes_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    FITTED["word"].encode(REVIEWS)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_encode_in_child, ("a film",)) == FITTED["word"].encode(["a film"])[0].tolist()
    assert capfd.readouterr().err == ""
