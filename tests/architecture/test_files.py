"""The files themselves: sizes, and the tree in the README."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
LISTED = ("src/holdfast/**/*.py", "csrc/**/*.cc", "csrc/**/*.h")


def source_files() -> set[str]:
    paths = {path for pattern in LISTED for path in ROOT.glob(pattern)}
    return {path.relative_to(ROOT).as_posix() for path in paths}


def readme_tree() -> dict[str, str]:
    """Path -> description, from the fenced block under the heading "## The tree".

    Two spaces of indentation are one level; a name that ends with a slash is a folder; two or more spaces
    separate a name from its one line of description.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## The tree$.*?^```\w*\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert block, 'README.md has no fenced block under the heading "## The tree"'
    tree: dict[str, str] = {}
    folders: list[str] = []
    for line in block[1].splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip(" "))) // 2
        name, _, description = line.strip().partition("  ")
        tree["".join([*folders[:depth], name])] = description.strip()
        if name.endswith("/"):
            folders[depth:] = [name]
    return tree


def test_no_source_file_is_long() -> None:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in source_files()}
    generated = {name for name in lengths if "/generated/" in name}
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES and name not in generated}


def test_the_tree_in_the_readme_lists_each_source_file_with_one_line() -> None:
    tree = readme_tree()
    # The __init__.py of a room is described by the line of its folder.
    expected = {name for name in source_files() if not re.fullmatch(r"src/holdfast/.+/__init__\.py", name)}
    assert not expected - set(tree), "files that the tree does not list"
    assert not {name for name, description in tree.items() if not description and name in expected}


def test_the_tree_in_the_readme_lists_only_what_exists() -> None:
    assert not [name for name in readme_tree() if not (ROOT / name).exists()]
