"""The allocator's setting is taken where glibc is, and quietly left where it is not."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from holdfast.training.allocator import keep_freed_memory


def has_glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) and bool(
        os.confstr("CS_GNU_LIBC_VERSION")
    )


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_glibc_takes_it() -> None:
    assert keep_freed_memory()


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not keep_freed_memory()
