"""Data that cannot be used: each case builds a file or a folder and says what the one message must contain.

The tests of the data room read them with `read_texts` and `check_enough`; the tests of the command line
give the same paths to `holdfast train`.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOOD_ROWS = [(f"a fine film, number {n}", "positive") for n in range(6)] + [
    (f"a dull film, number {n}", "negative") for n in range(6)
]


@dataclasses.dataclass(frozen=True)
class BadInput:
    """One kind of bad input.

    Args:
        name: of the case.
        make: builds it in an empty folder and gives its path.
        says: what the message must contain, besides the name of the file.
        options: arguments of `read_texts`.
    """

    name: str
    make: Callable[[Path], Path]
    says: tuple[str, ...]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def csv_text(rows: list[tuple[str, str]] = GOOD_ROWS) -> str:
    """A CSV file with the columns text and label; the first record stands in row 2."""
    return "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)


def _file(content: str | bytes, name: str = "reviews.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def _missing(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "reviews.csv").write_text(csv_text())
        return folder / name

    return make


def _folder(files: dict[str, str]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        root = folder / "reviews"
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content.encode("latin-1"))
        return root

    return make


def _with_row(text: str, label: str) -> str:
    return csv_text([*GOOD_ROWS, (text, label)])


def _jsonl(*lines: str) -> str:
    good = [json.dumps({"text": text, "label": label}) for text, label in GOOD_ROWS]
    return "\n".join([*good, *lines]) + "\n"


_GZIP = gzip.compress(csv_text().encode(), mtime=0)
_NUMBERS = "text,label\n" + "".join(f"film {n},{n * 0.37:.2f}\n" for n in range(60))
_CLASSES = ("positive", "negative")

BAD_INPUT = [
    # the file
    BadInput("no such file", _missing("ratings.txt"), ("does not exist",)),
    BadInput(
        "a typing error in the name",
        _missing("reviws.csv"),
        ("does not exist", "Did you mean", "reviews.csv"),
    ),
    BadInput("no such folder", _missing("nowhere/reviews.csv"), ("does not exist", "the folder")),
    BadInput("a web address", lambda _: Path("https://example.org/reviews.csv"), ("address", "download")),
    BadInput("an unknown ending", _file(csv_text(), "reviews.docx"), (".docx", ".csv")),
    BadInput("no ending", _file(csv_text(), "reviews"), ("no ending", ".csv")),
    BadInput("a workbook", _file(b"PK\x03\x04....", "reviews.xlsx"), ("spreadsheet", "CSV")),
    BadInput("an empty file", _file(""), ("is empty",)),
    BadInput("white space only", _file("\n  \n\n"), ("is empty",)),
    BadInput("empty cells only", _file('""\n""\n'), ("only empty cells",)),
    BadInput("an image", _file(b"\x89PNG\r\n\x1a\n" + bytes(range(256))), ("PNG image",)),
    BadInput("a zip archive", _file(b"PK\x03\x04" + bytes(64)), ("zip archive",)),
    BadInput("gzip without .gz", _file(_GZIP), ("gzip-compressed", ".gz")),
    BadInput("no gzip in .gz", _file(csv_text(), "reviews.csv.gz"), ("not gzip",)),
    BadInput("a cut gzip file", _file(_GZIP[:-20], "reviews.csv.gz"), ("cut off",)),
    BadInput(
        "a damaged gzip file",
        _file(_GZIP[:30] + b"\xff" * 20 + _GZIP[50:], "reviews.csv.gz"),
        ("gzip file is damaged",),
    ),
    BadInput("binary bytes", _file(bytes([1, 2, 3, 0, 200]) * 50), ("row 1", "byte 4", "0xc8")),
    BadInput("a NUL character", _file(csv_text() + "bad\0film,negative\n"), ("row 14", "NUL")),
    BadInput(
        "a legacy encoding",
        _file(csv_text().encode() + '"un café",positive\n'.encode("cp1252")),
        ("row 14", "0xe9", "cp1252", "encoding="),
    ),
    BadInput(
        "a wrong encoding after a cell of two lines",
        _file(b'text,label\n"one\ntwo",positive\ncaf\xe9,negative\n'),
        ("row 3", "byte 33", "cp1252"),
    ),
    BadInput("UTF-16 without a mark", _file(csv_text().encode("utf-16-le")), ("row 1", "utf-16-le")),
    BadInput("an unknown encoding", _file(csv_text()), ("'klingon'",), {"encoding": "klingon"}),
    # CSV
    BadInput("a header only", _file("text,label\n"), ("header", "no records")),
    BadInput("a column name twice", _file("text,label,text\na,b,c\n"), ("row 1", "'text'", "twice")),
    BadInput("a comma too many", _file(csv_text() + "good, bad,negative\n"), ("row 14", "3 cells", "2")),
    BadInput("a cell too few", _file(csv_text() + "good\n"), ("row 14", "has 1 cell,", "2")),
    BadInput(
        "a wrong row after a cell of two lines",
        _file('text,label\n"one\ntwo",positive\na,b,c\n'),
        ("row 3", "3 cells"),
    ),
    BadInput(
        "an open quotation mark", _file(csv_text() + '"never closed,negative\n'), ("row 14", "never closed")
    ),
    BadInput("a backslash before a mark", _file('text,label\n"a \\"b\\" c",x\n'), ("row 2", "twice")),
    BadInput(
        "a tab too many", _file("text\tlabel\na\tb\nc\td\te\n", "reviews.tsv"), ("row 3", "3 cells", "tab")
    ),
    # columns
    BadInput(
        "a missing text column",
        _file(csv_text()),
        ("'texts'", "'text', 'label'", "Did you mean 'text'"),
        {"text": "texts"},
    ),
    BadInput("a missing label column", _file(csv_text()), ("'stars'", "'text', 'label'"), {"label": "stars"}),
    BadInput("one column for both", _file(csv_text()), ("'text'", "both"), {"text": "text", "label": "text"}),
    BadInput("no column to guess", _file("a,b,c\n1,x,y\n"), ("'a', 'b', 'c'", "text=")),
    BadInput("no header line", _file("0,it was a good film\n1,it was not\n"), ("header line",)),
    BadInput("a column of numbers as text", _file("text,label\n1.5,a\n2.5,b\n"), ("'text'", "only numbers")),
    # labels
    BadInput("no label at all", _file("text,label\ngood,\nbad,\n"), ("none of the 2", "empty label")),
    BadInput("no text at all", _file("text,label\n,a\n ,b\n"), ("none of the 2", "empty text")),
    BadInput("measurements as labels", _file(_NUMBERS), ("'label'", "regression")),
    BadInput(
        "text as labels",
        _file("text,label\n" + "".join(f"a,sentence number {n}\n" for n in range(20))),
        ("'label'", "20 different", "not like classes"),
    ),
    BadInput(
        "an unknown label",
        _file(_with_row("not bad", "postive")),
        ("row 14", "'postive'", "Did you mean 'positive'"),
        {"classes": _CLASSES},
    ),
    BadInput("a single class", _file("text,label\ngood,a\nbad,a\nfine,a\n"), ("'a'", "two classes")),
    BadInput(
        "a class of one row", _file(_with_row("not bad", "postive")), ("row 14", "'postive'", "'positive'")
    ),
    BadInput(
        "a class of two rows",
        _file(csv_text([*GOOD_ROWS, ("so so", "neutral"), ("well", "neutral")])),
        ("rows 14, 15", "'neutral'", "at least 3"),
    ),
    # JSON lines
    BadInput(
        "broken JSON", _file(_jsonl('{"text": "a", "label"}'), "reviews.jsonl"), ("row 13", "not valid JSON")
    ),
    BadInput("a line that is no object", _file(_jsonl('["a", "b"]'), "reviews.jsonl"), ("row 13", "object")),
    BadInput(
        "a missing key", _file(_jsonl('{"text": "a"}'), "reviews.jsonl"), ("row 13", "'label'", "'text'")
    ),
    BadInput(
        "a text that is a number",
        _file(_jsonl('{"text": 7, "label": "x"}'), "reviews.jsonl"),
        ("row 13", "int"),
    ),
    BadInput(
        "a list of labels",
        _file(_jsonl('{"text": "a", "label": ["x", "y"]}'), "reviews.jsonl"),
        ("row 13", "label_separator"),
    ),
    BadInput(
        "one JSON document",
        _file("[\n" + '{"text": "a"}\n' + "]\n", "reviews.jsonl"),
        ("one object on each",),
    ),
    BadInput("deep JSON", _file("[" * 100_000 + "\n", "reviews.jsonl"), ("row 1", "not valid JSON")),
    # Parquet
    BadInput("no Parquet in .parquet", _file(csv_text(), "reviews.parquet"), ("not a Parquet file",)),
    BadInput("cut Parquet", _file(b"PAR1" + bytes(40), "reviews.parquet"), ("damaged",)),
    BadInput("empty Parquet", _file(b"", "reviews.parquet"), ("empty",)),
    # folders
    BadInput("an empty folder", _folder({}), ("sub-folder",)),
    BadInput("texts without class folders", _folder({"a.txt": "good"}), ("sub-folder", "1 .txt")),
    BadInput(
        "a class folder without texts", _folder({"pos/a.txt": "good", "neg/a.doc": "x"}), ("neg", "no .txt")
    ),
    BadInput(
        "train and test folders",
        _folder({"train/pos/a.txt": "good", "test/pos/a.txt": "bad"}),
        ("train", "not classes"),
    ),
    BadInput(
        "a file of another encoding",
        _folder({"pos/a.txt": "good", "neg/b.txt": "caf\xe9"}),
        ("b.txt", "row 1", "0xe9"),
    ),
    BadInput("a saved model", _folder({"config.json": "{}", "model.safetensors": ""}), ("saved model",)),
]
