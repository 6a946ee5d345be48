"""Texts that a tiny model learns in a second: common words, and one word that tells the class."""

from __future__ import annotations

from typing import Any

import numpy as np

FILLERS = ("the", "a", "film", "plot", "actor", "scene", "was", "is", "of", "and", "with", "we")
TINY: dict[str, Any] = {
    "embedding": 6,
    "hidden": 5,
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.03,
    "average_epochs": 0.3,
    "threads": 1,
}
AS_SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def toy_texts(rows: int = 150, *, classes: int = 2, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts and labels `kind0`, `kind1`, ...; one in ten has the word of another class."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(rows):
        kind = row % classes
        said = kind if generator.random() < 0.9 else int(generator.integers(classes))
        words = [*generator.choice(FILLERS, int(generator.integers(3, 9))), f"word{said}"]
        texts.append(" ".join(generator.permutation(words)))
        labels.append(f"kind{kind}")
    return texts, labels


def toy_several(rows: int = 150, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts with any of three labels, separated by `|`; some have none."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(rows):
        kinds = [k for k in range(3) if generator.random() < 0.4]
        words = [*generator.choice(FILLERS, int(generator.integers(3, 9))), *(f"word{k}" for k in kinds)]
        texts.append(" ".join(generator.permutation(words)))
        labels.append("|".join(f"kind{k}" for k in kinds))
    return texts, labels
