from __future__ import annotations

import pytest

from holdfast.data.duplicates import duplicated_in, same_text_key, text_groups
from holdfast.data.table import TextTable, read_texts
from holdfast.data.validate import check_enough, training_warnings
from holdfast.errors import DataError
from holdfast.features.tokens import Tokeniser, TokenOptions

LISTS = "the list of texts"
SCORES = "scores are given with and without them"
CHOICES = "the choices made by them are too optimistic"


def table(texts: list[str], labels: list[str]) -> TextTable:
    return read_texts((texts, labels))


def warnings_of(train: TextTable, valid: TextTable | None = None, test: TextTable | None = None) -> list[str]:
    check_enough(train)
    return training_warnings(train, valid, test)


def balanced(count: int = 20) -> TextTable:
    return table([f"text number {n}" for n in range(2 * count)], ["a", "b"] * count)


def test_clean_rows_give_no_warning() -> None:
    assert (
        warnings_of(balanced(), table(["one", "two"], ["a", "b"]), table(["three", "four"], ["a", "b"])) == []
    )


def test_imbalance_and_few_rows_are_said() -> None:
    rows = table([f"text {n}" for n in range(105)], ["a"] * 100 + ["b"] * 5)
    assert warnings_of(rows) == [
        f"{LISTS}: classes with fewer than 20 rows are learnt badly: 'b' (5)",
        f"{LISTS}: the classes are imbalanced: 'a' has 100 rows, 'b' 5; judge by F1, not by accuracy alone",
    ]


def test_repeated_and_contradicting_texts_are_said_with_rows() -> None:
    texts = [f"text number {n}" for n in range(40)] + ["Text  number 0", "text number 0", "text number 1"]
    repeated, contradicting = warnings_of(table(texts, ["a", "b"] * 20 + ["a", "a", "a"]))
    assert repeated == (
        f"{LISTS}: 3 rows repeat a text of another row (such as rows 1, 41, 42); the same texts are kept on "
        "one side of every split"
    )
    assert contradicting == (
        f"{LISTS}: 1 texts occur with different labels (such as rows 2, 43); no model can get them all right"
    )


def test_texts_shared_by_two_parts_are_said() -> None:
    train, valid = balanced(), table(["text number 3", "new"], ["b", "a"])
    test = table(["new", "TEXT number 4", "other"], ["a", "a", "a"])
    assert warnings_of(train, valid, test) == [
        f"{LISTS}: 1 of 2 texts also occur in the training rows (row 1); {CHOICES}",
        f"{LISTS}: 1 of 3 texts also occur in the training rows (row 2); {SCORES}",
        f"{LISTS}: the test rows have no row of class 'b'",
        f"{LISTS}: 1 of 3 texts also occur in the validation rows (row 1); {SCORES}",
    ]


def test_texts_repeated_within_a_part_are_said() -> None:
    valid = table(["one", "two", "ONE"], ["a", "b", "a"])
    test = table(["x", "y", "x", "z", "y"], ["a", "b", "b", "a", "b"])
    rows = "rows repeat a text of another of them (such as rows 1, 3); each counts"
    *repeats, contradiction = warnings_of(balanced(), valid, test)
    assert repeats == [f"{LISTS}: 1 of the validation {rows}", f"{LISTS}: 2 of the test {rows}"]
    assert contradiction == (
        f"{LISTS}: 1 texts of the test rows occur with different labels (such as rows 1, 3); no model can "
        "get them all right"
    )


def test_a_label_that_training_lacks_is_refused() -> None:
    train = table([f"text {n}" for n in range(6)], ["good", "bad"] * 3)
    with pytest.raises(DataError, match=r"row 2: label 'goood' does not occur.*Did you mean 'good'\?"):
        warnings_of(train, None, table(["x", "y"], ["good", "goood"]))


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="read without labels"):
        warnings_of(read_texts(["a", "b"], need_labels=False))


def test_several_labels_are_counted_one_by_one() -> None:
    few = read_texts((["a", "b", "c"], ["x", "x", "x"]), label_separator="|")
    assert warnings_of(few) == [f"{LISTS}: classes with fewer than 20 rows are learnt badly: 'x' (3)"]
    with pytest.raises(DataError, match="rows 1, 3: class 'y' has 2"):
        warnings_of(read_texts((["a", "b", "c", "d"], ["x|y", "x", "x|y", "x"]), label_separator="|"))
    with pytest.raises(DataError, match="none of the 2 rows has a label"):
        warnings_of(read_texts((["a", "b"], ["", ""]), label_separator="|"))


def test_the_same_text_differs_in_case_and_white_space_only() -> None:
    assert text_groups(["A b", "a  b ", "ab", "a b"]).tolist() == [0, 0, 1, 0]
    assert duplicated_in(["A b", "c"], ["a  b"]).tolist() == [True, False]
    assert duplicated_in([], ["a"]).shape == (0,)


@pytest.mark.parametrize(
    "other",
    ["CAF\u00c9 good film", "cafe\u0301 good<br />film", "caf\u00e9 good <BR>film", "cafe\u0301  good\nfilm"],
)
def test_what_the_tokeniser_reads_the_same_is_the_same_text(other: str) -> None:
    text = "caf\u00e9 good film"
    assert same_text_key(other) == same_text_key(text)
    options = TokenOptions(min_count=1)
    first, second = Tokeniser.fit([text], options).encode([text, other])
    assert first.tolist() == second.tolist()


def test_apostrophes_and_sharp_s_count_as_the_same() -> None:
    assert same_text_key("it’s STRASSE") == same_text_key("it's Straße")
    assert same_text_key("good film") != same_text_key("goodfilm")
