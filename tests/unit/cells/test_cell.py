"""Cells: the printed step against equations written by hand, the derived backward against autograd."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from holdfast.cells import Cell, Parameter, get, modifiers
from holdfast.cells.expression import Expression, named, sigmoid, tanh
from holdfast.cells.registry import BUILT_IN
from holdfast.errors import ConfigError
from holdfast.kernels import cut_points

Step = Callable[..., tuple[Tensor, ...]]
NAMES = [cell.name for cell in BUILT_IN]


def compiled(source: str, name: str) -> Step:
    names = ("normalise", "normalise_backward", "product", "product_backward", "outer")
    module: dict[str, object] = {"torch": torch, **{cut: getattr(cut_points, cut) for cut in names}}
    exec(source, module)
    return module[name]  # type: ignore[return-value]


B, H, P = 3, 4, 2


def random_inputs(cell: Cell) -> list[Tensor]:
    """One tensor for each input, in order; scalars, masks and flags as what they are."""
    shapes = {parameter.name: parameter.shape(H) for parameter in cell.parameters} | {"weight_hr": (P, H)}
    narrow = {"h_prev", "h_start", "tap_h", "keep_h"} if cell.has("project") else set()

    def random(name: str) -> Tensor:
        if name in cell.step_inputs and not name.startswith("tap_"):
            width = 1 if name in {"starts", "valid"} else P if name in narrow else H
            return torch.rand(B, width) < 0.5
        if name in (cell.graph.scalars or {}):
            return torch.tensor(0.3, dtype=torch.float64)
        shape = shapes.get(name, (B, P if name in narrow else H))
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    return [random(name) for name in cell.inputs]


def everything(name: str) -> Cell:
    """A cell with every modifier that it takes."""
    cell = modifiers.state_dropout(modifiers.cell_dropout(get(name), 0.3), 0.2)
    if "c" in cell.states:
        cell = modifiers.clip(cell, 0.3)
    cell = modifiers.zoneout(modifiers.project(cell), 0.2, 0.1 if "c" in cell.states else 0.0)
    return modifiers.padded(modifiers.reset(modifiers.tapped(cell)))


MODIFIED = [
    pytest.param(make(name), id=f"{name}{kind}")
    for name in NAMES
    for kind, make in (
        ("", get),
        ("-expected-zoneout", lambda name: modifiers.expected_zoneout(get(name), 0.2)),
        ("-everything", everything),
    )
]


@pytest.mark.parametrize("cell", MODIFIED)
def test_the_derived_backward_equals_autograd(cell: Cell) -> None:
    inputs = random_inputs(cell)
    results = compiled(cell.torch_source(), cell.name)(*inputs)
    values = dict(zip(cell.values, results, strict=False))
    carried = results[len(values) :]
    upstream = [torch.randn_like(part) for part in carried]
    leaves = {name: value for name, value in zip(cell.inputs, inputs, strict=True) if value.requires_grad}
    gradients = torch.autograd.grad(carried, list(leaves.values()), upstream, allow_unused=True)
    expected = dict(zip(leaves, gradients, strict=True))
    known = {f"d_{state}": gradient for state, gradient in zip(cell.states, upstream, strict=True)}
    known |= {key: value.detach() for key, value in values.items()}
    known |= {key: value.detach() for key, value in zip(cell.inputs, inputs, strict=True)}
    backward = compiled(cell.torch_gradient_source(), f"{cell.name}_backward")
    found = dict(zip(cell.gradients, backward(*(known[key] for key in cell.gradient_inputs)), strict=True))
    assert found.keys() >= {f"d_{key}" for key, gradient in expected.items() if gradient is not None}
    for key, gradient in expected.items():
        own = found.get(f"d_{key}")
        if own is not None:
            wanted = torch.zeros_like(leaves[key]) if gradient is None else gradient
            torch.testing.assert_close(own.expand_as(wanted), wanted, rtol=1e-12, atol=1e-14, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_what_enters_the_recurrent_product_is_differentiated(name: str) -> None:
    cell = modifiers.reset(modifiers.state_dropout(get(name), 0.25))
    h_prev, h_start = (torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    drop, starts = torch.rand(B, H) < 0.5, torch.rand(B, 1) < 0.5
    known: dict[str, object] = {"h_prev": h_prev, "scale_h": 1 / 0.75, "h_start": h_start}
    known |= {"drop_h": drop, "starts": starts}
    arguments = [known[key] for key in cell.entering_inputs]
    (entering,) = compiled(cell.torch_entering_source(), f"{name}_entering")(*arguments)
    torch.testing.assert_close(entering, torch.where(drop, 0.0, torch.where(starts, h_start, h_prev) / 0.75))
    upstream = torch.randn_like(entering)
    expected = torch.autograd.grad(entering, [h_prev, h_start], upstream)
    backward = compiled(cell.torch_entering_gradient_source(), f"{name}_entering_backward")
    found = dict(zip(cell.entering_gradients, backward(upstream, *arguments), strict=True))
    torch.testing.assert_close(found["d_h_prev"], expected[0])
    torch.testing.assert_close(found["d_h_start"], expected[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_printed_step_passes_gradcheck(name: str) -> None:
    cell = get(name)
    step = compiled(cell.torch_source(), name)
    assert torch.autograd.gradcheck(step, random_inputs(cell))


@pytest.mark.parametrize("name", NAMES)
def test_the_backward_reads_only_what_the_forward_keeps(name: str) -> None:
    cell = get(name)
    assert not any(key.startswith(("z_", "b_i", "b_f", "b_g", "b_o")) for key in cell.gradient_inputs)
    assert set(cell.gradient_inputs) == {
        *(f"d_{state}" for state in cell.states),
        *cell.values,
        *(f"{part}_{gate}" for gate in cell.split for part in "xr"),
        *(f"{state}_prev" for state in cell.states[1:]),
        *(row for parameter in cell.vectors for row in parameter.feeds),
        *cell.matrices,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_survives_pickle_and_copy(name: str) -> None:
    cell = get(name)
    for twin in (pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        assert twin == cell
        assert twin.values == cell.values


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_says_where_it_comes_from(name: str) -> None:
    cell = get(name)
    assert cell.doc
    assert cell.references
    assert cell.latex().startswith("\\begin{aligned}\n")
    assert cell.latex_gradients().count("&=") >= len(cell.gradients)


def test_lstm_in_latex() -> None:
    assert r"c_t &= f_t \odot c_{t-1} + i_t \odot g_t" in get("lstm").latex()


def test_parameter_shape() -> None:
    (peepholes,) = get("peephole").parameters
    assert peepholes.shape(7) == (21,)


def test_an_unknown_cell_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'pephole'.*lstm, original, peephole.*Did you mean 'peephole'\?"):
        get("pephole")


def test_get_takes_a_cell() -> None:
    assert get(get("rnn")) is get("rnn")


def no_output_gate(f: Expression, g: Expression, c: Expression) -> dict[str, Expression]:
    """A cell of a user."""
    f = sigmoid(f)
    c = f * c + (1 - f) * tanh(g)
    return named(f=f, c=c, h=tanh(c))


def test_a_derivative_that_reads_an_unnamed_gate_recomputes_it_or_says_so() -> None:
    # tanh(g) is not named and g is not kept: d_z_f needs it.
    cell = Cell("no_output_gate", no_output_gate, ("f", "g"), ("h", "c"))
    with pytest.raises(ValueError, match="z_g"):
        _ = cell.gradients


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gates": ("g", "f")}, "must take"),
        ({"states": ("c", "h")}, "first state must be h"),
        ({"states": ("h", "c", "m")}, "must take"),
        ({"parameters": (Parameter("weight_x", ("p",), "none"),)}, "must take"),
    ],
)
def test_a_cell_whose_declaration_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    declared: dict[str, object] = {"gates": ("f", "g"), "states": ("h", "c"), **changes}
    with pytest.raises(ConfigError, match=message):
        Cell("odd", no_output_gate, **declared)  # type: ignore[arg-type]


def test_a_state_without_next_value_is_refused() -> None:
    def forgets_its_state(g: Expression, c: Expression) -> dict[str, Expression]:
        return named(h=tanh(g + c))

    with pytest.raises(ConfigError, match="'c'"):
        Cell("odd", forgets_its_state, ("g",), ("h", "c"))


@pytest.mark.parametrize("name", ["my-cell", "2nd", "", "lambda", "torch", "a b"])
def test_a_name_that_cannot_name_a_function_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="its name must be a Python identifier"):
        Cell(name, no_output_gate, ("f", "g"), ("h", "c"))


@pytest.mark.parametrize("name", ["c_prev", "z_g", "d_h", "d_c_prev", "w", "torch", "lambda", "t 1"])
def test_a_value_called_like_something_else_in_the_step_is_refused(name: str) -> None:
    def odd(g: Expression, c: Expression, w: Expression) -> dict[str, Expression]:
        return named(**{name: tanh(g)}, c=c * w, h=tanh(c))

    with pytest.raises(ConfigError, match=f"a value is called '{name}'"):
        Cell("odd", odd, ("g",), ("h", "c"), (Parameter("weight_x", ("w",), "none"),))


def test_one_name_for_two_inputs_is_refused() -> None:
    def odd(g: Expression, c: Expression, c_prev: Expression) -> dict[str, Expression]:
        return named(c=c * c_prev, h=tanh(g))

    with pytest.raises(ConfigError, match="one name for two inputs"):
        Cell("odd", odd, ("g",), ("h", "c"), (Parameter("weight_x", ("c_prev",), "none"),))
