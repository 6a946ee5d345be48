"""What the documents say is run: the README's example, examples in docstrings, links between files."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cells import CELLS

ROOT = Path(__file__).parents[2]
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT / "src").with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "src").rglob("*.py")
    if re.search(r">>> (?!.*doctest: \+SKIP)", path.read_text(encoding="utf-8"))
)
PYTHON = r"^```python\n(.*?)^```$"
PROGRAMS = [
    path
    for path in (ROOT / "docs").glob("*.md")
    if re.search(PYTHON, path.read_text(), re.DOTALL | re.MULTILINE)
]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


@pytest.fixture(autouse=True)
def _cells_are_left_as_they_were() -> Iterator[None]:
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)


def test_the_example_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(PYTHON, (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 14
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([2, 2, 50, 4, 64])" in printed
    assert "the model beats majority" in printed
    assert printed.strip().endswith("['1', '0']")


@pytest.mark.parametrize("name", [path.name for path in PROGRAMS])
def test_the_python_of_a_document_runs_and_prints_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of its blocks are one program; what a line prints stands behind it, as in `print(2)  # 2`."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    code = "\n".join(re.findall(PYTHON, text, re.DOTALL | re.MULTILINE))
    exec(compile(code, name, "exec"), {"__name__": name})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert said
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing
