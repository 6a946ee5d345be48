"""Pictures for a page: text is text, ink is the page's, and two pictures do not meddle with each other."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from holdfast.inspection import canvas

LIGHT, DARK = "#ffffff", "#15181d"


def figure(title: str = "Loss <of> #000000") -> Any:
    drawn = canvas.new_figure(4.0, 3.0)
    left, right = drawn.subplots(1, 2)
    left.plot([1.0, 2.0, 4.0], color=canvas.TRAIN, marker="o", label="training")
    left.legend(frameon=False)
    left.set_title(title, parse_math=False)
    right.imshow([[0.0, 1.0], [1.0, 0.0]], interpolation="none")
    return drawn


def test_svg_stands_in_a_page() -> None:
    drawn = canvas.svg(figure(), alt='a "loss" & more')
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == 'a "loss" & more'
    assert (root.get("width"), root.get("viewBox")) == ("384", "0 0 288 216")
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "training" in texts
    assert "Loss <of> #000000" in texts
    assert "<style" not in drawn
    assert "font-family" not in drawn


def test_ink_is_the_colour_of_the_page_and_series_keep_theirs() -> None:
    tags = "".join(re.findall("<[^>]*>", canvas.svg(figure())))
    assert "#000000" not in tags
    assert "stroke: currentColor" in tags
    assert f"stroke: {canvas.TRAIN}" in tags
    assert "#ffffff" not in tags


def test_two_pictures_share_no_identifier_and_refer_to_their_own() -> None:
    one, other = canvas.svg(figure("one")), canvas.svg(figure("other"))
    identifiers = [re.findall(r' id="([^"]+)"', drawn) for drawn in (one, other)]
    assert identifiers[0]
    assert not set(identifiers[0]) & set(identifiers[1])
    for drawn, names in zip((one, other), identifiers, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', drawn)) == set(names)


def test_the_same_figure_has_the_same_bytes() -> None:
    assert canvas.svg(figure()) == canvas.svg(figure())
    assert canvas.png(figure()) == canvas.png(figure())
    assert canvas.png(figure()).startswith(b"\x89PNG\r\n\x1a\n")


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [*canvas.SERIES, canvas.GREY])
@pytest.mark.parametrize("page", [LIGHT, DARK])
def test_lines_are_seen_on_a_light_and_on_a_dark_page(colour: str, page: str) -> None:
    lower, higher = sorted((luminance(colour), luminance(page)))
    assert (higher + 0.05) / (lower + 0.05) >= 3
