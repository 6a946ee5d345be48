"""Where every picture is made and written down; matplotlib stands behind this file."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from holdfast.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PURPOSE = "drawing a picture"
DPI = 120

# Each has a contrast of at least 3 against white and against the dark page (#15181d).
TRAIN, VALID, GREY = "#4c72b0", "#c44e52", "#777777"
GREEN, AMBER, PURPLE, TEAL = "#3c8d5f", "#b0761e", "#8a65b8", "#268a99"
SERIES = (TRAIN, VALID, GREEN, AMBER, PURPLE, TEAL)
GATE_COLOURS, STATE_COLOURS = "viridis", "RdBu_r"
"""Names of colour maps: of values from 0 to 1, and of values around 0."""

_TAG = re.compile(r"<[^>]*>")
_INK = re.compile(r"(stroke|fill): #000000")
_FONT = re.compile(r"font-family: [^;\"]*?(; |(?=\"))")
_LONG_NUMBER = re.compile(r"(\d+\.\d{3})\d+")
_REFERENCE = re.compile(r"(?:xlink:href=\"#|url\(#)([^\")]+)")
_IDENTITY = re.compile(r" id=\"([^\"]+)\"")
_SIZE = re.compile(r"<svg [^>]*?width=\"([\d.]+)pt\" height=\"([\d.]+)pt\"[^>]*>")


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure that belongs to no window and to no global state.

    Ink (text, axes, ticks) is left black, which `svg` turns into the colour of the page around it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure: Figure = require("matplotlib.figure", "train", PURPOSE).Figure(
        figsize=(width_inches, height_inches), layout="constrained"
    )
    return figure


def png(figure: Figure, colours: int | None = None) -> bytes:
    """The figure as a PNG of 120 dots per inch on white; the same figure gives the same bytes.

    Args:
        figure: what to draw.
        colours: how many there may be, at most 256: a third of the bytes for little loss; None: all.
    """
    picture = io.BytesIO()
    with _quiet_about_glyphs():
        figure.savefig(picture, format="png", dpi=DPI)
    if colours is None:
        return picture.getvalue()
    pillow = require("PIL.Image", "train", PURPOSE)  # matplotlib brings it
    small = io.BytesIO()
    pillow.open(picture).convert("RGB").quantize(colours).save(small, format="png", optimize=True)
    return small.getvalue()


def svg(figure: Figure, alt: str = "") -> str:
    """The figure as one `<svg>` element to stand inside an HTML page.

    Text stays text in the page's own font, the background is transparent, and everything that is drawn in
    black takes the page's `currentColor`, so that it reads on a light and on a dark page. Identifiers are
    made of the content, so that many pictures can stand on one page. The same figure gives the same text.

    Args:
        figure: what to draw.
        alt: what the picture shows, in words, for those who do not see it; none: a decoration.
    """
    drawn = _raw_svg(figure)
    size = _SIZE.search(drawn)
    assert size is not None, "matplotlib wrote no size"
    width, height = (float(points) for points in size.groups())
    inside = drawn[size.end() :]
    inside = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", inside, count=1, flags=re.DOTALL)
    inside = _with_own_names(_TAG.sub(_plain_tag, inside))
    described = f'role="img" aria-label="{escape(alt)}"' if alt else 'aria-hidden="true"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {described} '
        f'width="{width * 4 / 3:.0f}" height="{height * 4 / 3:.0f}" viewBox="0 0 {width:g} {height:g}" '
        f'fill="currentColor" stroke-linejoin="round">{inside.strip()}'
    )


def _raw_svg(figure: Figure) -> str:
    matplotlib = require("matplotlib", "train", PURPOSE)
    picture = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "holdfast"}), _quiet_about_glyphs():
        figure.savefig(picture, format="svg", transparent=True, metadata=nothing)
    return picture.getvalue()


def _plain_tag(tag: re.Match[str]) -> str:
    """One tag without what the page decides: the ink, the font; and with shorter numbers."""
    if tag[0].startswith("<image"):  # its data are no numbers
        return tag[0]
    text = _INK.sub(r"\1: currentColor", tag[0])
    return _LONG_NUMBER.sub(r"\1", _FONT.sub("", text)).replace(" \n", " ")


def _with_own_names(drawn: str) -> str:
    """Drop identifiers that nothing refers to, and make the others this picture's own."""
    used = set(_REFERENCE.findall(drawn))
    mark = hashlib.sha256(drawn.encode()).hexdigest()[:8]

    def identity(found: re.Match[str]) -> str:
        return f' id="{mark}-{found[1]}"' if found[1] in used else ""

    def tag(found: re.Match[str]) -> str:
        text = _IDENTITY.sub(identity, found[0])
        return _REFERENCE.sub(
            lambda reference: f"{reference[0][: -len(reference[1])]}{mark}-{reference[1]}", text
        )

    return _TAG.sub(tag, drawn)


@contextmanager
def _quiet_about_glyphs() -> Iterator[None]:
    """A word in a script that the font lacks is drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
