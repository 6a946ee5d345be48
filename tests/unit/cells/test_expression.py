"""The expression graph: sharing, operators, and each rule of its derivative against autograd."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

import pytest
import torch

from holdfast.cells import expression as e
from holdfast.cells.derivative import derivative
from holdfast.cells.printers import torch_function

Function = Callable[..., e.Expression]


def gradients_by_both(function: Function, *points: float) -> tuple[list[float], list[float]]:
    """At one point: from the printed derivative, and autograd's through the printed forward."""
    names = [f"a{k}" for k in range(len(points))]
    inputs = [e.symbol(name) for name in names]
    values = {"y": function(*inputs)}
    derived = derivative(values, {values["y"]: e.symbol("d_y")}, inputs, readable=inputs)
    backward = {f"d_{node.name}": gradient for node, gradient in derived.items()}
    module: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {"torch": torch}  # type: ignore[dict-item]
    exec(torch_function("forward", names, values), module)
    exec(torch_function("backward", ["d_y", "y", *names], backward), module)

    tensors = [torch.tensor(point, dtype=torch.float64, requires_grad=True) for point in points]
    (y,) = module["forward"](*tensors)
    upstream = torch.tensor(1.7, dtype=torch.float64)
    expected = torch.autograd.grad(y, tensors, upstream, allow_unused=True)
    known = [tensor.detach() for tensor in tensors]
    found = dict(zip(backward, module["backward"](upstream, y.detach(), *known), strict=True))
    ours = [float(found[f"d_{name}"]) if f"d_{name}" in found else 0.0 for name in names]
    return ours, [0.0 if gradient is None else float(gradient) for gradient in expected]


@pytest.mark.parametrize(
    ("function", "points"),
    [
        (lambda a, b: a + b, (0.3, -1.2)),
        (lambda a, b: a - b, (0.3, -1.2)),
        (lambda a, b: a * b, (0.3, -1.2)),
        (lambda a, b: a / b, (0.3, -1.2)),
        (lambda a: -a, (0.3,)),
        (lambda a: 2 - 3 * a / 4 + 1 / a, (0.3,)),
        (e.exp, (0.3,)),
        (e.log, (0.3,)),
        (e.sqrt, (0.3,)),
        (e.sigmoid, (-0.7,)),
        (e.tanh, (0.7,)),
        (e.relu, (0.7,)),
        (e.relu, (-0.7,)),
        (e.absolute, (0.7,)),
        (e.absolute, (-0.7,)),
        (e.absolute, (0.0,)),
        (e.maximum, (0.3, -1.2)),
        (e.maximum, (-1.2, 0.3)),
        (e.minimum, (0.3, -1.2)),
        (e.minimum, (-1.2, 0.3)),
        (lambda a, b: e.where(a < b, a * a, b * b), (0.3, -1.2)),
        (lambda a, b: e.where(a <= b, a * a, b * b), (-1.2, 0.3)),
        (lambda a, b: e.where(a > b, a * a, b * b), (0.3, -1.2)),
        (lambda a, b: e.where(a >= b, a * a, b * b), (0.3, 0.3)),
        (lambda a, b: e.minimum(e.maximum(a * b, -0.1), 0.1) * a, (0.3, 0.2)),
        (lambda a, b: (a * b + a) * (a * b - b) / e.exp(a * b), (0.3, 0.2)),
        (lambda a: a * a * a, (1.3,)),
        (lambda a: a, (1.3,)),
    ],
)
def test_derivative_equals_autograd(function: Function, points: tuple[float, ...]) -> None:
    ours, expected = gradients_by_both(function, *points)
    # The same few float64 operations in another order: a handful of roundings.
    assert ours == pytest.approx(expected, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("function", [e.maximum, e.minimum])
def test_on_a_tie_the_first_argument_gets_the_whole_gradient(function: Function) -> None:
    ours, through_the_printed_code = gradients_by_both(function, 0.4, 0.4)
    assert ours == through_the_printed_code == [1.7, 0.0]


def test_equal_expressions_are_one_object() -> None:
    a, b = e.symbol("a"), e.symbol("b")
    assert e.tanh(a * b + 1) is e.tanh(a * b + 1)
    assert a * b is not b * a
    assert e.constant(0.0) is not e.constant(-0.0)


def test_expressions_are_forgotten_when_nothing_uses_them() -> None:
    gc.collect()
    before = len(e.Expression._known)
    e.exp(e.symbol("only_here") * 3.25)
    gc.collect()
    assert len(e.Expression._known) == before


def test_a_comparison_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="where"):
        bool(e.symbol("a") < e.symbol("b"))


def test_the_derivative_uses_named_values_instead_of_inputs() -> None:
    x, c = e.symbol("x"), e.symbol("c")
    gate = e.sigmoid(x)
    derived = derivative({"s": gate, "y": gate * c}, {gate * c: e.symbol("d_y")}, [x, c], readable=[c])
    read = {node.name for node in e.ordered(derived.values()) if node.op == "symbol"}
    assert read == {"s", "c", "d_y"}


def test_a_derivative_that_needs_what_is_not_kept_says_so() -> None:
    x = e.symbol("x")
    with pytest.raises(ValueError, match="reads x"):
        derivative({"y": e.absolute(x) * 2}, {e.absolute(x) * 2: e.symbol("d_y")}, [x], readable=[])


def test_an_expression_shows_itself() -> None:
    assert repr(1 - e.tanh(e.symbol("a"))) == "sub(1.0, tanh(a))"


def test_operations_on_numbers_are_done_at_once() -> None:
    x = e.symbol("x")
    assert e.exp(2) * x is x.__rmul__(math.exp(2))
    assert e.maximum(1, 2) is e.constant(2)
    assert (e.sigmoid(0) + 1) / 3 - 2 is e.constant((0.5 + 1) / 3 - 2)
    with pytest.raises(ValueError, match="math domain error"):
        e.log(-1)


def test_a_choice_between_numbers_is_made_at_once_or_has_the_type_of_what_is_compared() -> None:
    x = e.symbol("x")
    assert e.where(e.exp(1) < 2, 1, 0) is e.constant(0)
    assert e.where(e.constant(2) <= 2, 1, 0) is e.constant(1)
    module: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {"torch": torch}  # type: ignore[dict-item]
    exec(torch_function("choose", ["x"], {"y": e.where(x < 0, 0.01, 1.0)}), module)
    (found,) = module["choose"](torch.tensor([-1.0, 1.0], dtype=torch.float64))
    assert found.tolist() == [0.01, 1.0]


def test_numbers_that_are_none() -> None:
    with pytest.raises(OverflowError, match=r"mul of .* is no finite number"):
        e.exp(500) * e.exp(500)  # type: ignore[operator]
    assert e.sigmoid(-1000) is e.constant(0)


def test_what_is_shared_is_not_shown_for_ever() -> None:
    x = e.symbol("x")
    for _ in range(60):
        x = x + e.tanh(x) * 0.5
    assert len(repr(x)) < 1000
