"""Printing: brackets, shared subexpressions, and the text of both languages."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from holdfast.cells import expression as e
from holdfast.cells.printers import LATEX, TORCH, latex_lines, schedule, torch_function

A, B, C = e.symbol("a"), e.symbol("b"), e.symbol("c_prev")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (A + B + C, "a + b + c_prev"),
        (A + (B + C), "a + (b + c_prev)"),
        (A - (B - C), "a - (b - c_prev)"),
        ((A + B) * C, "(a + b) * c_prev"),
        (A * B + C, "a * b + c_prev"),
        (A / (B * C), "a / (b * c_prev)"),
        (A / B * C, "a / b * c_prev"),
        (-(A + B), "-(a + b)"),
        (-A * B, "-a * b"),
        (A - -B, "a - -b"),
        (A * -2, "a * -2.0"),
        (e.tanh(A + B), "torch.tanh(a + b)"),
        (e.maximum(A, B), "torch.where(a < b, b, a)"),
        (e.minimum(A, B), "torch.where(b < a, b, a)"),
        (e.where(A >= B, A, 0), "torch.where(b <= a, a, 0.0)"),
        (1 - A, "1.0 - a"),
    ],
)
def test_torch_text(expression: e.Expression, text: str) -> None:
    assert TORCH.render(expression) == text


@pytest.mark.parametrize("value", [0.1, 1e-30, 3.0, -2.5])
def test_numbers_keep_every_digit(value: float) -> None:
    assert float(TORCH.render(e.constant(value))) == value


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (e.sigmoid(e.symbol("z_i")), r"\sigma\left(\hat{i}_t\right)"),
        (A * C, r"a_t \odot c_{t-1}"),
        ((A + B) * e.symbol("p_o"), r"\left(a_t + b_t\right) \odot p_{o}"),
        (A / (B + 1), r"\frac{a_t}{b_t + 1}"),
        (e.sqrt(A), r"\sqrt{a_t}"),
        (e.relu(A), r"\operatorname{relu}\left(a_t\right)"),
        (e.absolute(A), r"\left|a_t\right|"),
        (e.maximum(A, 0.5), r"\max\left(a_t, 0.5\right)"),
        (e.where(A <= B, A, B), r"\left[a_t \le b_t\ ?\ a_t : b_t\right]"),
        (e.symbol("d_z_f"), r"\partial \hat{f}_t"),
        (e.symbol("d_c_prev"), r"\partial c_{t-1}"),
        (e.symbol("t12"), "u_{12}"),
    ],
)
def test_latex_text(expression: e.Expression, text: str) -> None:
    assert LATEX.render(expression) == text


def test_shared_subexpressions_are_computed_once() -> None:
    shared = e.exp(A * B)
    lines = schedule({"x": shared + shared * C, "y": shared})
    assert [(line.name, repr(line.expression)) for line in lines] == [
        ("y", "exp(mul(a, b))"),
        ("x", "add(y, mul(y, c_prev))"),
    ]
    lines = schedule({"x": e.tanh(A) * e.tanh(A)})
    assert [(line.name, repr(line.expression)) for line in lines] == [("t1", "tanh(a)"), ("x", "mul(t1, t1)")]


def test_a_value_that_is_an_input_or_another_value_is_assigned() -> None:
    lines = schedule({"g": A, "h": e.tanh(A), "k": e.tanh(A)})
    assert [(line.name, repr(line.expression)) for line in lines] == [
        ("h", "tanh(a)"),
        ("g", "a"),
        ("k", "h"),
    ]


def test_torch_function_is_python() -> None:
    source = torch_function("step", ["a", "b"], {"y": A * B})
    assert source == "def step(a, b):\n    y = a * b\n    return (y,)\n"


def test_latex_lines_align() -> None:
    assert latex_lines({"c": A + B}) == ["c_t &= a_t + b_t"]


@pytest.mark.parametrize("taken", ["t1", "t2"])
def test_a_temporary_takes_no_name_that_a_value_or_a_symbol_has(taken: str) -> None:
    one, other = e.tanh(A), e.exp(B)
    named_value = {taken: A + 1, "x": one * one + other * other}
    assert run(named_value, a=0.3, b=0.2)[1] == pytest.approx(math.tanh(0.3) ** 2 + math.exp(0.4))
    own_symbol = {"x": one * one + other * other + e.symbol(taken)}
    assert run(own_symbol, a=0.3, b=0.2, **{taken: 5.0})[0] == pytest.approx(
        math.tanh(0.3) ** 2 + math.exp(0.4) + 5
    )
    assert len({line.name for line in schedule(named_value)}) == 4


def run(values: dict[str, e.Expression], **inputs: float) -> list[float]:
    module: dict[str, Any] = {"torch": torch}
    exec(torch_function("step", list(inputs), values), module)
    tensors = (torch.tensor(value, dtype=torch.float64) for value in inputs.values())
    return [float(result) for result in module["step"](*tensors)]
