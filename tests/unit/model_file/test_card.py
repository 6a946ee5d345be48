"""The model card: what it must say, and that hostile names stay plain text."""

from __future__ import annotations

import numpy as np

from holdfast.model_file.card import model_card
from holdfast.training.scores import ScoreTable

CONFIG = {
    "task": "text-classification",
    "classes": ["negative", "positive"],
    "options": {"network": {"hidden": 64, "cell": "lstm"}},
    "training": {
        "data": "reviews.csv",
        "train_rows": 9600,
        "valid_rows": 1066,
        "data_hash": "sha256:ab12",
        "seconds": 61.5,
        "best_epoch": 4,
        "notes": [],
    },
}


def scores() -> ScoreTable:
    targets = np.arange(100) % 2
    right = np.where(np.eye(2)[targets] == 1, 0.9, 0.1)
    right[:7] = right[:7, ::-1]
    return ScoreTable.measure(
        {"majority": np.full((100, 2), 0.5), "both": right},
        targets,
        data_hash="sha256:34cd",
        duplicated=np.arange(100) < 7,
        resamples=50,
    )


def test_card_says_what_it_is_and_how_good_on_what() -> None:
    table = scores()
    card = model_card(CONFIG, table.as_dict(), verdict=table.verdict())
    for expected in (
        "# text-classification model\n",
        '. Its 2 classes: "negative", "positive".',
        "import holdfast\nmodel = holdfast.load(",
        "| train | reviews.csv | 9,600 | ab12 |",
        "| valid | for choosing | 1,066 |  |",
        "| test | scored | 100 | 34cd |",
        "On the 100 rows of the test split, with 95 % bootstrap intervals.",
        "| | accuracy | macro f1 | f1 | auroc | calibration error |",
        "| majority | 0.500 (",
        "| both | 0.930 (",
        "- the model beats majority by 43.0 points of accuracy",
        "Without rows whose text the model has seen in training or validation (93 left):",
        "| both | 1.000 (1.000–1.000)",
        "## Training\n\n- seconds: 61.5\n- best epoch: 4\n\n## Network",
        "- hidden: 64\n- cell: lstm",
        "## Limits",
    ):
        assert expected in card
    assert card.endswith("\n")
    assert "\n\n\n" not in card


def test_card_without_scores_says_so() -> None:
    card = model_card({"task": "text-classification"})
    assert "Not measured: run `holdfast evaluate`" in card
    assert "Not recorded." in card


def test_names_cannot_break_the_page() -> None:
    config = {
        "task": "text-classification",
        "classes": ["a|b", "<script>", "`x`\n# Heading"],
        "training": {"data": "a|b\n|c|.csv", "train_rows": 1, "data_hash": "sha256:00"},
    }
    card = model_card(config)
    assert '"a\\|b", "&lt;script>", "\\`x\\` # Heading"' in card
    assert "| train | a\\|b \\|c\\|.csv | 1 | 00 |" in card
    assert "\n# Heading" not in card


def test_many_classes_are_not_all_listed() -> None:
    card = model_card({"task": "text-classification", "classes": [str(n) for n in range(50)]})
    assert "Its 50 classes:" in card
    assert '"19" and 30 more' in card
