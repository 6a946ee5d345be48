"""The data that comes with the lab, so that its experiments run anywhere."""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def chorales() -> Path:
    """The path of 382 chorales by J. S. Bach: JSON with the lists train, valid and test.

    Each chorale is a list of steps of a quarter note, each step the list of the MIDI numbers that sound.
    Source and terms are in the README beside the file: Boulanger-Lewandowski, Bengio and Vincent 2012,
    *Modeling temporal dependencies in high-dimensional sequences*.
    """
    return Path(str(importlib.resources.files(__name__) / "chorales.json.gz"))
