"""Who may import whom, as an allow-list over the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

BASE = {"_version", "errors", "notation", "options"}
ROOMS = {
    "_version": set(),
    "errors": set(),
    "notation": set(),
    "options": {"errors"},
    "cells": BASE,
    "compiling": BASE | {"cells"},
    "kernels": BASE | {"cells", "compiling", "_core"},
    "nn": BASE | {"cells", "kernels"},
    "features": BASE,
    "data": BASE | {"features"},
    "model_file": BASE,
    "training": BASE | {"nn", "data", "features", "inspection", "model_file"},
    "runtime": BASE | {"cells", "compiling", "features", "model_file", "_core"},
    "inspection": BASE | {"nn"},
    "exporting": BASE | {"nn", "model_file", "runtime"},
    "serving": BASE | {"runtime", "inspection"},
    "lab": BASE | {"cells", "nn", "training", "inspection"},
    "tasks": BASE | {"data", "features", "inspection", "nn", "training", "model_file"},
}
ROOMS["cli"] = {"", "_core", "cli", *ROOMS}
ROOMS[""] = set(ROOMS) - {"cli"}  # holdfast/__init__.py

THIRD_PARTIES: dict[str, set[str]] = {
    "kernels": {"numpy", "torch", "triton"},
    "nn": {"numpy", "torch"},
    "features": {"numpy", "scipy", "sklearn", "tokenizers"},
    "data": {"narwhals", "numpy", "polars"},
    "model_file": {"numpy", "safetensors"},
    "training": {"numpy", "safetensors", "scipy", "sklearn", "tensorboard", "torch"},
    "runtime": {"numpy"},
    "inspection": {"PIL", "jinja2", "matplotlib", "numpy", "torch"},
    "exporting": {"numpy", "onnx", "onnxruntime", "torch"},
    "serving": {"fastapi", "numpy", "uvicorn"},
    "lab": {"numpy", "torch"},
    "tasks": {"numpy", "pydantic", "sklearn", "torch", "yaml"},
    "cli": {"numpy", "rich", "torch", "typer"},
}

# Each stands behind one file of ours, so that it can be replaced there.
ONE_FILE = {
    "PIL",
    "fastapi",
    "jinja2",
    "narwhals",
    "onnx",
    "onnxruntime",
    "polars",
    "pydantic",
    "tensorboard",
    "typer",
    "yaml",
}

# Rooms whose verbs start quickly because they import what they need when they need it.
LAZY_ROOMS = {"cli"}


@dataclass(frozen=True)
class Import:
    """One imported module, by its dotted name, and how it is imported."""

    module: str
    importer: str
    line: int
    typing_only: bool
    in_function: bool

    @property
    def ours(self) -> bool:
        return self.module.partition(".")[0] == "holdfast"

    def __str__(self) -> str:
        return f"{self.importer} line {self.line} imports {self.module}"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return [*module.split("."), ""][1]


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted((SOURCE / "holdfast").rglob("*.py"))}


@cache
def imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for name, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
        found += walk(tree, name, typing_only=False, in_function=False)
    return tuple(found)


def walk(node: ast.AST, importer: str, *, typing_only: bool, in_function: bool) -> Iterator[Import]:
    for module in imported_by(node):
        yield Import(module, importer, getattr(node, "lineno", 0), typing_only, in_function)
    in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for child in node.body:
            yield from walk(child, importer, typing_only=True, in_function=in_function)
        for child in node.orelse:
            yield from walk(child, importer, typing_only=typing_only, in_function=in_function)
        return
    for child in ast.iter_child_nodes(node):
        yield from walk(child, importer, typing_only=typing_only, in_function=in_function)


def imported_by(node: ast.AST) -> list[str]:
    """The modules that one statement imports; `require("x", ...)` of holdfast.errors counts as one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: write the whole name of the module"
        base = node.module or ""
        names = [f"{base}.{alias.name}" for alias in node.names]
        return sorted({name if is_ours(name) else base for name in names})
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"require", "errors.require"}:
        first = node.args[0]
        return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
    return []


def is_ours(name: str) -> bool:
    return name in modules() or name == "holdfast._core"


def test_each_room_has_a_rule_and_is_a_package() -> None:
    unruled = {room(name) for name in modules()} - set(ROOMS)
    assert not unruled, f"say in this file what {sorted(unruled)} may import"
    folders = {path.parent for path in modules().values()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_rooms_import_only_the_rooms_they_may() -> None:
    wrong = [
        str(found)
        for found in imports()
        if found.ours
        and room(found.module) != room(found.importer)
        and room(found.module) not in ROOMS[room(found.importer)]
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_import_only_the_third_parties_they_may() -> None:
    wrong = [
        str(found)
        for found in imports()
        if not found.ours
        and not found.typing_only
        and found.module.partition(".")[0] not in sys.stdlib_module_names
        and found.module.partition(".")[0] not in THIRD_PARTIES.get(room(found.importer), set())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", sorted(ONE_FILE))
def test_a_third_party_stands_behind_one_file(package: str) -> None:
    files = {found.importer for found in imports() if found.module.partition(".")[0] == package}
    files = {name for name in files if not name.startswith("holdfast.cli.") or package != "typer"}
    assert len(files) <= 1, f"{package} is imported by {sorted(files)}"


def test_the_saved_model_and_the_torch_free_rooms_never_see_torch() -> None:
    torch_free = {"cells", "compiling", "data", "features", "model_file", "runtime"}
    start = [name for name in modules() if room(name) in torch_free]
    reached = reachable(start)
    torch = [str(found) for found in imports() if found.importer in reached and is_torch(found)]
    assert not torch, "\n".join(torch)


def is_torch(found: Import) -> bool:
    return found.module.partition(".")[0] == "torch" and not found.typing_only


def reachable(start: list[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph().get(name, set())
    return reached


@cache
def graph() -> dict[str, set[str]]:
    """The modules that each module imports when it is imported itself."""
    edges: dict[str, set[str]] = {name: set() for name in modules()}
    for found in imports():
        if found.ours and not found.typing_only and not found.in_function:
            edges[found.importer].add(found.module)
    return edges


def test_no_cycles() -> None:
    for name in modules():
        through = reachable(sorted(graph()[name] - {name}))
        assert name not in through, f"{name} imports itself by way of others"


def test_no_task_imports_another_task() -> None:
    tasks = {path.parent.name for name, path in modules().items() if path.parent.parent.name == "tasks"}
    assert "text_classification" in tasks
    wrong = [
        str(found)
        for found in imports()
        if task_of(found.importer) != task_of(found.module)
        and {task_of(found.importer), task_of(found.module)} <= tasks
    ]
    assert not wrong, "\n".join(wrong)


def task_of(module: str) -> str:
    """The folder of holdfast/tasks that a module is in; empty elsewhere."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["holdfast", "tasks"] and len(parts) > 2 else ""


def test_imports_stand_at_the_top_of_their_file() -> None:
    """Except in cli, and for what `errors.require` imports where it is needed: the packages of an extra."""
    wrong = [
        str(found)
        for found in imports()
        if found.in_function
        and not found.typing_only
        and room(found.importer) not in LAZY_ROOMS
        and not is_required(found)
    ]
    assert not wrong, "\n".join(wrong)


def is_required(found: Import) -> bool:
    line = modules()[found.importer].read_text(encoding="utf-8").splitlines()[found.line - 1]
    return "require(" in line


def test_cli_imports_lazily() -> None:
    heavy = THIRD_PARTIES["cli"] | {"holdfast"}
    light = {"", "_version", "cli", "errors", "notation", "options"}
    wrong = [
        str(found)
        for found in imports()
        if room(found.importer) == "cli"
        and not found.in_function
        and not found.typing_only
        and found.module.partition(".")[0] in heavy - {"typer"}
        and not (found.ours and room(found.module) in light)
    ]
    assert not wrong, "\n".join(wrong)
