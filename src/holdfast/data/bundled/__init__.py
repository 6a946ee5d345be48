"""The data set that comes with the package, for the demo, the examples and the tests."""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def movie_reviews() -> Path:
    """The path of 10,662 sentences from film reviews, half of them positive: columns label, fold and text.

    The label is 1 (positive) or 0 (negative); fold, 0 to 9, cuts the rows for cross-validation. Source and
    licence (CC BY 4.0) are in the README beside the file: Pang and Lee 2005, *Seeing stars*.
    """
    return Path(str(importlib.resources.files(__name__) / "movie_reviews.csv.gz"))
