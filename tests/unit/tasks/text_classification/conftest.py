"""Trainings without a picture, which takes longer to draw than a tiny model takes to train."""

from __future__ import annotations

import pytest

from holdfast.tasks import text_classification


@pytest.fixture(autouse=True)
def _no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.name != "test_the_bundle_is_complete":
        monkeypatch.setattr(text_classification, "loss_picture", lambda history: b"\x89PNG")
