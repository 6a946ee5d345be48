from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest

from holdfast.data import files
from holdfast.data.report import Dropped
from holdfast.data.table import read_texts
from holdfast.errors import ConfigError, DataError, MissingExtraError

TEXTS = ["a fine film", 'says "no", twice', "two\nlines", "café ☃"]
LABELS = ["1", "0", "1", "0"]
CSV = 'text,label\na fine film,1\n"says ""no"", twice",0\n"two\nlines",1\ncafé ☃,0\n'


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_csv(folder: Path) -> Any:
    return write(folder / "reviews.csv", CSV)


def as_csv_gz(folder: Path) -> Any:
    return write(folder / "reviews.CSV.gz", gzip.compress(CSV.encode()))


def as_csv_with_mark(folder: Path) -> Any:
    return write(folder / "reviews.csv", b"\xef\xbb\xbf" + CSV.replace("\nlines", "\r\nlines").encode())


def as_csv_of_windows(folder: Path) -> Any:
    return write(folder / "reviews.csv", CSV.replace("\n", "\r\n"))


def as_utf16(folder: Path) -> Any:
    return write(folder / "reviews.csv", CSV.encode("utf-16"))


def as_tsv(folder: Path) -> Any:
    return write(folder / "reviews.tsv", CSV.replace(",1", "\t1").replace(",0", "\t0").replace("t,l", "t\tl"))


def as_semicolons(folder: Path) -> Any:
    return write(folder / "reviews.csv", CSV.replace(",1", ";1").replace(",0", ";0").replace("t,l", "t;l"))


def as_jsonl(folder: Path) -> Any:
    lines = [
        json.dumps({"text": text, "label": int(label)}) for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    return write(folder / "reviews.jsonl", "\n".join(lines) + "\n\n")


def as_parquet(folder: Path) -> Any:
    frame = polars.DataFrame({"text": TEXTS, "label": [int(label) for label in LABELS]})
    frame.write_parquet(folder / "r.parquet")
    return folder / "r.parquet"


def as_polars(_: Path) -> Any:
    return polars.DataFrame({"label": [1.0, 0.0, 1.0, 0.0], "text": TEXTS})


def as_pandas(_: Path) -> Any:
    frame = pandas.DataFrame({"text": TEXTS, "label": pandas.Categorical(LABELS), "other": [1, 2, 3, 4]})
    frame.index = pandas.Index([7, 7, 8, 9])
    return frame


def as_lists(_: Path) -> Any:
    return TEXTS, [1, 0, 1, 0]


def as_arrays(_: Path) -> Any:
    return np.array(TEXTS), np.array([1, 0, 1, 0])


def as_series(_: Path) -> Any:
    return pandas.Series(TEXTS), pandas.Series([1, 0, 1, 0])


FORMS = [
    as_csv, as_csv_gz, as_csv_with_mark, as_csv_of_windows, as_utf16, as_tsv, as_semicolons, as_jsonl,
    as_parquet, as_polars, as_pandas, as_lists, as_arrays, as_series,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(form: Any, tmp_path: Path) -> None:
    table = read_texts(form(tmp_path))
    assert [text.replace("\r\n", "\n") for text in table.texts] == TEXTS
    assert table.labels == LABELS
    first = 2 if form in FORMS[:7] else 1
    assert table.rows == [first, first + 1, first + 2, first + 3]
    assert table.report.classes == {"0": 2, "1": 2}
    assert (table.report.text_column, table.report.label_column) == ("text", "label")


def test_a_folder_has_a_class_per_sub_folder(tmp_path: Path) -> None:
    for name, text in {
        "pos/2.txt": "good",
        "pos/1.txt": "fine",
        "neg/1.txt": "bad",
        "neg/2.txt": " ",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.md").write_text("left out")
    (tmp_path / ".hidden").mkdir()
    table = read_texts(tmp_path)
    assert (table.texts, table.labels) == (["bad", "fine", "good"], ["neg", "pos", "pos"])
    assert table.report.dropped == (Dropped("an empty text", (2,), ("file neg/2.txt",)),)
    assert table.report.lines()[-2:] == [
        "left out: 1 with an empty text (file neg/2.txt)",
        "note: 1 files beside the class folders were left out",
    ]


def test_a_folder_of_texts_can_be_predicted(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "second")
    write(tmp_path / "a.txt", "first")
    table = read_texts(tmp_path, need_labels=False)
    assert (table.texts, table.labels, table.rows) == (["first", "second"], None, [1, 2])


def test_the_report_says_what_was_read_and_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv", "Review,id,Sentiment\na b c,1,Pos\n,2,neg\n\nd,3,\ne f,4,pos\ng,5,neg\n,,\n\n"
    )
    table = read_texts(path)
    assert (table.texts, table.labels, table.rows) == (
        ["a b c", "e f", "g"],
        ["Pos", "pos", "neg"],
        [2, 6, 7],
    )
    assert table.report.rows_read == 7
    assert table.report.lines() == [
        f"{path}: 3 rows, 4 left out",
        "text in column 'Review', label in column 'Sentiment'",
        "classes: Pos 1 (33.3 %), neg 1 (33.3 %), pos 1 (33.3 %)",
        "words in a text: 1 to 3, median 2, 95 % have at most 3",
        "left out: 1 with nothing but a blank line (row 4)",
        "left out: 2 with an empty text (rows 3, 8)",
        "left out: 1 with an empty label (row 5)",
        "note: labels that differ only in case count as different classes: 'Pos', 'pos'",
    ]


def test_other_separators_and_plain_marks_are_reported(tmp_path: Path) -> None:
    semicolons = read_texts(write(tmp_path / "a.csv", "text;label\na, b;x\nc;y\n"))
    assert semicolons.texts == ["a, b", "c"]
    assert semicolons.report.warnings == ("separated by semicolons, so read that way",)
    plain = read_texts(write(tmp_path / "a.tsv", 'text\tlabel\n"Good" film\tx\nan "odd" one\ty\n'))
    assert plain.texts == ['"Good" film', 'an "odd" one']
    assert plain.report.warnings == (
        "quotation marks taken as plain characters (they do not enclose whole cells)",
    )


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("label,fold,text", "text", "label"),
        ("id,Review Text,Rating", "Review Text", "Rating"),
        ("title,body,category", "body", "category"),
        ("target,my words", "my words", "target"),
        ("tweet,emo", "tweet", "emo"),
    ],
)
def test_columns_are_guessed_from_their_names(tmp_path: Path, header: str, text: str, label: str) -> None:
    width = header.count(",") + 1
    rows = [",".join(f"{cell} {row % 2}" for cell in "uvw"[:width]) for row in range(4)]
    report = read_texts(write(tmp_path / "r.csv", "\n".join([header, *rows]))).report
    assert (report.text_column, report.label_column) == (text, label)


def test_prediction_keeps_every_record_and_reads_no_labels(tmp_path: Path) -> None:
    table = read_texts(write(tmp_path / "r.csv", "text,label\na,\n,x\nb,y\n"), need_labels=False)
    assert (table.texts, table.labels, table.rows) == (["a", "", "b"], None, [2, 3, 4])
    assert table.report.warnings == ("1 texts are empty; their predictions mean nothing",)
    assert read_texts(["a", None], need_labels=False).texts == ["a", ""]
    assert read_texts(write(tmp_path / "one.csv", "anything\na\nb\n"), need_labels=False).texts == ["a", "b"]


def test_prediction_keeps_the_empty_records_of_a_file_with_one_column(tmp_path: Path) -> None:
    path = write(tmp_path / "one.csv", 'text\na good film\n""\n\n \nbad film\n""\n\n')
    table = read_texts(path, need_labels=False)
    assert (table.texts, table.rows) == (["a good film", "", "", "bad film", ""], [2, 3, 5, 6, 7])
    assert table.report.rows_read == 7
    assert table.report.dropped == (Dropped("nothing but a blank line", (4, 8)),)
    assert table.report.warnings == (
        'a blank line is no record, so it gets no prediction; write an empty text as ""',
        "3 texts are empty; their predictions mean nothing",
    )


@pytest.mark.parametrize("name", ["one.csv", "one.tsv", "one.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_what_csv_writers_make_of_one_column_comes_back(name: str, end: str, tmp_path: Path) -> None:
    texts = ["a good film", "", "", "bad film", ""]
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end or "\n").writerows([["text"], *([text] for text in texts)])
    content = stream.getvalue().encode() if end else stream.getvalue().rstrip("\n").encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    table = read_texts(path, need_labels=False)
    assert (table.texts, table.rows, table.report.dropped) == (texts, [2, 3, 4, 5, 6], ())


def test_a_plain_list_of_texts_reports_its_blank_lines(tmp_path: Path) -> None:
    table = read_texts(write(tmp_path / "one.tsv", "text\ngood\n\nbad\n"), need_labels=False)
    assert (table.texts, table.rows) == (["good", "bad"], [2, 4])
    assert table.report.dropped == (Dropped("nothing but a blank line", (3,)),)


def test_a_column_that_cannot_be_guessed_is_named_in_python_or_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "a,b,c\nx,y,z\n")
    with pytest.raises(DataError, match=r"Name it: text=\.\.\. in Python, --text on the command line"):
        read_texts(path)
    with pytest.raises(DataError, match=r"Name it: label=\.\.\. in Python, --label on the command line"):
        read_texts(path, text="a")


def test_several_labels_in_a_record(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,label\na,x| y\nb,\nc,y|y\n")
    table = read_texts(path, label_separator="|")
    assert table.labels == [("x", "y"), (), ("y",)]
    assert table.report.classes == {"x": 1, "y": 2}
    lines = read_texts(write(tmp_path / "r.jsonl", '{"text": "a", "label": ["x", 1]}\n'), label_separator="|")
    assert lines.labels == [("1", "x")]
    with pytest.raises(DataError, match=r"row 2: label 'x' is not one of 'y', 'z'"):
        read_texts(path, label_separator="|", classes=["y", "z"])
    with pytest.raises(ConfigError, match="label_separator is empty"):
        read_texts(path, label_separator="")


def test_missing_values_of_frames_are_empty() -> None:
    frame = pandas.DataFrame({"text": ["a", None, "b", "c"], "label": [1, 2, None, 1]})
    assert read_texts(frame).labels == ["1", "1"]
    nullable = frame.astype({"text": "string", "label": "Int64"})
    assert (read_texts(nullable).texts, read_texts(nullable).labels) == (["a", "c"], ["1", "1"])
    assert read_texts(polars.DataFrame({"text": ["a", "b"], "label": [True, False]})).labels == [
        "true",
        "false",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "the list of texts is empty"),
        ((["a", 7], [0, 1]), r"row 2: is of type int, expected text"),
        ((["a", "b"], ["x"]), "2 texts but 1 labels"),
        (7, "cannot read data from type int"),
        (["a", "b"], r"give a pair \(texts, labels\)"),
        (polars.DataFrame({"text": [], "label": []}), "has no rows"),
        (polars.LazyFrame({"text": ["a"]}).select("text").lazy(), "collect it"),
        (pandas.DataFrame([["a", "b"]], columns=["text", "text"]), "'text' occurs twice"),
        (pandas.DataFrame({"text": [b"a", b"b"], "label": [0, 1]}), "row 1: column 'text' holds type bytes"),
    ],
)
@pytest.mark.filterwarnings("ignore:Determining the column names of a LazyFrame")
def test_bad_objects_are_refused(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_texts(source)


def test_half_a_surrogate_pair_is_replaced_and_reported(tmp_path: Path) -> None:
    table = read_texts(write(tmp_path / "r.jsonl", '{"text": "a \\ud83d", "label": "x"}\n'))
    assert table.texts == ["a ?"]
    assert table.report.warnings == ("1 texts hold half of a surrogate pair, replaced by '?'",)


def test_a_long_cell_is_read_and_the_limit_of_csv_is_left_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    table = read_texts(write(tmp_path / "r.csv", f'text,label\n"{"word " * 100_000}",x\n'))
    assert table.report.length_words["max"] == 100_000
    assert csv.field_size_limit() == before


def test_unpacking_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "bomb.csv.gz", gzip.compress(b"text,label\n" + b"a" * 10_000_000))
    monkeypatch.setattr(files, "MAX_BYTES", 100_000)
    with pytest.raises(DataError, match="smaller parts"):
        read_texts(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        MissingExtraError, match=r"reading Parquet needs the package 'polars'.*holdfast\[train\]"
    ):
        read_texts(path)


def test_an_encoding_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,label\ncafé,x\n".encode("cp1252"))
    assert read_texts(path, encoding="cp1252").texts == ["café"]


def test_labels_that_look_like_several_are_said() -> None:
    labels = ["good", "bad", "good|bad", "new|good", "new", "bad|new"] * 5
    table = read_texts(([f"text {index}" for index in range(30)], labels))
    assert any("give label_separator='|'" in warning for warning in table.report.warnings)
    plain = read_texts(([f"text {index}" for index in range(30)], ["and/or", "either/neither", "no"] * 10))
    assert not any("label_separator" in warning for warning in plain.report.warnings)
