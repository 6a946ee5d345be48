"""A report as one HTML page that needs nothing else; jinja2 stands behind this file."""

from __future__ import annotations

from importlib import resources

from holdfast.errors import require
from holdfast.inspection.report import Report

TEMPLATE = "page.html.jinja"


def page(report: Report) -> str:
    """The page as HTML: it follows the reader's light or dark theme, prints, and fits a narrow window.

    Args:
        report: what was seen.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", "train", "writing a page")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    text: str = environment.from_string(source).render(report=report)
    return text
