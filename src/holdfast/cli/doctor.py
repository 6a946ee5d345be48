"""`holdfast doctor`: what is installed, which backends run here and why the others do not."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import sys
from collections.abc import Callable
from typing import Literal

from holdfast._version import __version__

Mark = Literal["ok", "missing", "note"]

_BUILD_THE_CORE = (
    "Nothing fails without it: PyTorch computes instead. To build it, install GCC 11 or Clang 12, or newer, "
    "and install holdfast again: pip install --force-reinstall --no-deps holdfast "
    "(from a checkout: pip install -e .)"
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, what was found, and what to do about it (empty: nothing)."""

    name: str
    mark: Mark
    value: str
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """What belongs together in the report."""

    title: str
    findings: tuple[Finding, ...]


def report() -> list[Section]:
    """Look at this machine and this installation.

    Returns:
        The sections in the order in which a person reads them. Nothing raises: what cannot be found out is
        a finding.
    """
    return [
        Section("holdfast", _guarded("holdfast", _installation)),
        Section("Compiled core", _guarded("core", _core)),
        Section("PyTorch", _guarded("torch", _torch)),
        Section("Backends", _guarded("backends", _backends)),
        Section("Extras", _guarded("extras", _extras)),
        Section("Processor", _guarded("processor", _processor)),
    ]


def run(json_output: bool) -> None:
    """Print the report, for a person or as JSON.

    Args:
        json_output: print one JSON object, `{section: {name: {"mark", "value", "advice"}}}`.
    """
    sections = report()
    if json_output:
        print(json.dumps(as_dict(sections), indent=2))
    else:
        _print_for_a_person(sections)


def as_dict(sections: list[Section]) -> dict[str, dict[str, dict[str, str]]]:
    """The report as plain dictionaries, by section title and name."""
    return {
        section.title: {
            finding.name: {"mark": finding.mark, "value": finding.value, "advice": finding.advice}
            for finding in section.findings
        }
        for section in sections
    }


def _guarded(name: str, look: Callable[[], list[Finding]]) -> tuple[Finding, ...]:
    try:
        return tuple(look())
    except Exception as error:  # a broken installation is what doctor is there to describe
        return (Finding(name, "missing", f"{type(error).__name__}: {error}"),)


def _installation() -> list[Finding]:
    return [
        Finding("version", "ok", __version__),
        Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}"),
        Finding("platform", "ok", platform.platform()),
    ]


def _core() -> list[Finding]:
    try:
        import holdfast._core as core
    except ModuleNotFoundError:
        return [Finding("core", "missing", "not built", _BUILD_THE_CORE)]
    except ImportError as error:
        advice = (
            "unset HOLDFAST_ISA, or set it to one of these"
            if os.environ.get("HOLDFAST_ISA")
            else _BUILD_THE_CORE
        )
        return [Finding("core", "missing", f"built, but it does not load: {error}", advice)]
    stale = "" if core.version == __version__ else "it is of another version: install holdfast again"
    forced = " (set by HOLDFAST_ISA)" if os.environ.get("HOLDFAST_ISA") else ""
    idle = [level for level in core.built_levels if level not in core.levels]
    return [
        Finding("core", "note" if stale else "ok", f"{core.version}, built by {core.compiler}", stale),
        Finding("level", "ok", core.level + forced),
        Finding("levels", "ok", f"this processor runs {', '.join(core.levels)}"),
        *([Finding("not here", "note", f"this processor cannot run {', '.join(idle)}")] if idle else []),
        Finding("processor", "ok", " ".join(core.instruction_sets) or "nothing that a level needs"),
        _own_cells(),
    ]


def _own_cells() -> Finding:
    from holdfast.compiling.compiler import system_compiler
    from holdfast.compiling.folder import kept_in

    compiler = system_compiler()
    if os.environ.get("HOLDFAST_COMPILE") == "0":
        compiler = "HOLDFAST_COMPILE is 0"
    if isinstance(compiler, str):
        value, advice = f"not compiled: {compiler}", "cells of your own run in PyTorch meanwhile, more slowly"
        return Finding("own cells", "note", value, advice)
    return Finding("own cells", "ok", f"compiled by {compiler} into {kept_in()}")


def _torch() -> list[Finding]:
    try:
        import torch
    except ModuleNotFoundError:
        advice = "training and the layers need it: pip install 'holdfast[train]'"
        return [Finding("torch", "missing", "not installed", advice)]
    found = [Finding("torch", "ok", torch.__version__)]
    if torch.cuda.is_available():
        found += [
            Finding(f"GPU {index}", "ok", torch.cuda.get_device_name(index))
            for index in range(torch.cuda.device_count())
        ]
    elif torch.version.cuda is None:
        found.append(Finding("GPU", "note", "none: this is a build of PyTorch without CUDA"))
    else:
        found.append(
            Finding("GPU", "note", f"none found, though PyTorch is built for CUDA {torch.version.cuda}")
        )
    return found


def _backends() -> list[Finding]:
    try:
        from holdfast.kernels import backends
    except ModuleNotFoundError as error:
        package = (error.name or "torch").partition(".")[0]
        return [Finding("backends", "missing", f"none runs without {package}")]
    return [
        Finding(status.name, "ok" if status.available else "missing", status.reason) for status in backends()
    ]


def _extras() -> list[Finding]:
    import importlib.metadata

    try:
        requirements = importlib.metadata.requires("holdfast") or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("extras", "note", "unknown: holdfast runs from its source and is not installed")]
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", requirement)
        if name and extra and name[0].lower() != "holdfast":
            packages.setdefault(extra[1], []).append(name[0])
    return [_extra(extra, names) for extra, names in packages.items()]


def _extra(extra: str, packages: list[str]) -> Finding:
    import importlib.metadata

    missing = []
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if not missing:
        return Finding(extra, "ok", "complete")
    return Finding(extra, "missing", f"lacks {', '.join(missing)}", f"pip install 'holdfast[{extra}]'")


def _processor() -> list[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [Finding("cores", "ok", f"{usable} usable of {os.cpu_count()}")]
    torch = sys.modules.get("torch")
    if torch is not None:
        found.append(Finding("threads", "ok", f"PyTorch uses {torch.get_num_threads()}"))
    if os.environ.get("OMP_NUM_THREADS"):
        found.append(Finding("limit", "note", f"OMP_NUM_THREADS is {os.environ['OMP_NUM_THREADS']}"))
    return found


def _print_for_a_person(sections: list[Section]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    styles = {"ok": "green", "missing": "red", "note": "yellow"}
    for section in sections:
        console.print(Text(section.title, style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, min_width=9)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in section.findings:
            mark = Text(finding.mark, style=styles[finding.mark])
            table.add_row(mark, Text(finding.name), Text(finding.value))
            if finding.advice:
                table.add_row("", "", Text(finding.advice, style="italic"))
        console.print(table)
        console.print()
