"""Generates the cases of each class that inherits `CellContract` from its cell."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("contract.agreement", "contract.cell_contract", "contract.cell_properties")


def described(value: object) -> str:
    """A backend, a case, a type, or a tuple of names."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return str(value).removeprefix("torch.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    over = getattr(metafunc.function, "over", None)
    if over is not None:
        names, source = over
        metafunc.parametrize(names, list(source(metafunc.cls.cell)), ids=described)
