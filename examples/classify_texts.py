"""The same question through `TextClassifier`: words instead of characters, a naive part beside the LSTM."""

from __future__ import annotations

import sys

from holdfast import TextClassifier
from holdfast.data.bundled import movie_reviews
from holdfast.data.table import read_texts


def main(rows: int = 3000, hidden: int = 64) -> float:
    """Train on some reviews; returns the accuracy on reviews it has not seen."""
    table = read_texts(movie_reviews())
    step = len(table.texts) // (rows + 1000)
    texts, labels = table.texts[::step], table.labels[::step]
    train_texts, train_labels = (
        texts[1::4] + texts[2::4] + texts[3::4],
        labels[1::4] + labels[2::4] + labels[3::4],
    )
    classifier = TextClassifier(hidden=hidden).fit(train_texts, train_labels)
    accuracy = classifier.score(texts[::4], labels[::4])
    print(f"words and n-grams: accuracy {accuracy:.3f} on {len(texts[::4])} unseen reviews")
    for line in classifier.scores_.verdict():
        print(" ", line)
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
