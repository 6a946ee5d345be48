"""The exceptions, and the packages of an extra."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import HoldfastError, MissingExtraError, require


def test_each_exception_is_also_python_s_own() -> None:
    also = {
        errors.InputError: ValueError,
        errors.DataError: errors.InputError,
        errors.ConfigError: errors.InputError,
        errors.ModelFileError: errors.InputError,
        errors.BackendError: RuntimeError,
        errors.TrainingError: RuntimeError,
        errors.MissingExtraError: ImportError,
        errors.TrainingInterrupted: HoldfastError,
    }
    for kind, base in also.items():
        assert issubclass(kind, base)
        assert issubclass(kind, HoldfastError)


def test_what_is_installed_is_imported() -> None:
    assert require("math", "train", "a sum") is math
    assert require("os.path", "train", "a path").join("a", "b")


@pytest.mark.parametrize("module", ["nowhere_to_be_found", "nowhere_to_be_found.deep.inside"])
def test_what_is_not_installed_names_its_extra(module: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        require(module, "train", "reading tea leaves")
    assert str(caught.value) == (
        "reading tea leaves needs the package 'nowhere_to_be_found', which is not installed: "
        "pip install 'holdfast[train]'"
    )


def test_a_package_that_lacks_another_one_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_it_needs") as caught:
        require("broken_package", "train", "a sum")
    assert not isinstance(caught.value, HoldfastError)
    assert "broken_package" not in sys.modules
