"""`holdfast doctor` describes any installation, whole or broken, in any window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import __version__
from holdfast.cli import doctor

TITLES = ["holdfast", "Compiled core", "PyTorch", "Backends", "Extras", "Processor"]


def found(sections: list[doctor.Section], title: str) -> dict[str, doctor.Finding]:
    return {
        finding.name: finding
        for section in sections
        if section.title == title
        for finding in section.findings
    }


def run_doctor(prelude: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys\n{prelude}\nfrom holdfast.cli.doctor import run\nrun(json_output={not environment})"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_report_has_every_section_and_the_version() -> None:
    sections = doctor.report()
    assert [section.title for section in sections] == TITLES
    assert all(section.findings for section in sections)
    assert found(sections, "holdfast")["version"].value == __version__


def test_the_backends_are_those_of_the_kernels() -> None:
    from holdfast.kernels import backends

    findings = found(doctor.report(), "Backends")
    assert {name: finding.mark == "ok" for name, finding in findings.items()} == {
        status.name: status.available for status in backends()
    }


@pytest.mark.parametrize("width", [50, 80])
def test_the_report_fits_the_window(width: int) -> None:
    result = run_doctor(COLUMNS=str(width))
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= width
    assert all(title in result.stdout for title in TITLES)


def test_a_missing_core_is_reported_with_what_it_costs() -> None:
    result = run_doctor('sys.modules["holdfast._core"] = None')
    assert result.returncode == 0, result.stderr
    core = json.loads(result.stdout)["Compiled core"]["core"]
    assert core["mark"] == "missing"
    assert core["value"] == "not built"
    assert "PyTorch computes instead" in core["advice"]


def test_a_core_that_refuses_to_load_is_reported() -> None:
    pytest.importorskip("holdfast._core", reason="the compiled core is not built")
    result = run_doctor(HOLDFAST_ISA="x86-64-v9", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert 'HOLDFAST_ISA is "x86-64-v9", which is no level of this build' in result.stdout
    assert "unset HOLDFAST_ISA" in result.stdout


def test_it_says_what_compiles_cells_and_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("holdfast._core", reason="the compiled core is not built")
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    finding = found(doctor.report(), "Compiled core")["own cells"]
    assert (finding.mark, finding.value) == ("ok", f"compiled by {sys.executable} into {tmp_path / 'cells'}")
    monkeypatch.setenv("CXX", "/none")
    finding = found(doctor.report(), "Compiled core")["own cells"]
    assert (finding.mark, finding.value[:40]) == ("note", "not compiled: there is no C++ compiler: ")
    monkeypatch.setenv("HOLDFAST_COMPILE", "0")
    assert "HOLDFAST_COMPILE is 0" in found(doctor.report(), "Compiled core")["own cells"].value


def test_doctor_needs_only_the_runtime_dependencies() -> None:
    absent = ["torch", "sklearn", "polars", "narwhals", "pydantic", "yaml", "matplotlib", "pandas"]
    result = run_doctor(f"for name in {absent}: sys.modules[name] = None")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["PyTorch"]["torch"]["mark"] == "missing"
    assert report["Backends"]["backends"]["value"] == "none runs without torch"


def test_a_broken_package_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Finding]:
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(doctor, "_torch", broken)
    finding = found(doctor.report(), "PyTorch")["torch"]
    assert finding.mark == "missing"
    assert finding.value == "OSError: libcudart.so.12: cannot open shared object file"


def test_an_incomplete_extra_names_what_it_lacks_and_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.metadata

    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda _: ["numpy>=1", 'no-such-package>=1; extra == "train"', 'holdfast[train]; extra == "bench"'],
    )
    assert doctor._extras() == [
        doctor.Finding("train", "missing", "lacks no-such-package", "pip install 'holdfast[train]'")
    ]
