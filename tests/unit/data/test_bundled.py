from __future__ import annotations

import hashlib

from holdfast.data.bundled import movie_reviews
from holdfast.data.table import read_texts
from holdfast.data.validate import check_enough, training_warnings


def test_the_bundled_reviews_are_whole_and_named_with_their_licence() -> None:
    table = read_texts(movie_reviews())
    assert table.report.classes == {"0": 5331, "1": 5331}
    assert not table.report.dropped
    check_enough(table)
    assert training_warnings(table) == []
    readme = (movie_reviews().parent / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in readme
    assert hashlib.sha256(movie_reviews().read_bytes()).hexdigest() in readme
