"""Cells: the printed step against equations written by hand, the derived backward against autograd."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from holdfast.cells import CELLS, Cell, Parameter, get
from holdfast.cells.expression import Expression, named, sigmoid, tanh
from holdfast.errors import ConfigError

Step = Callable[..., tuple[Tensor, ...]]


def compiled(source: str, name: str) -> Step:
    module: dict[str, object] = {"torch": torch}
    exec(source, module)
    return module[name]  # type: ignore[return-value]


def random_inputs(cell: Cell) -> list[Tensor]:
    return [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in cell.inputs]


def by_hand(name: str, z: dict[str, Tensor]) -> Tensor:
    """The next h, from equations typed in here independently of the cells."""
    if name == "rnn":
        return z["z_g"].tanh()
    see_i, see_f, see_o = (z[p] if name == "peephole" else torch.zeros(()) for p in ("p_i", "p_f", "p_o"))
    i = 1 / (1 + (-(z["z_i"] + see_i * z["c_prev"])).exp())
    f = 1 / (1 + (-(z["z_f"] + see_f * z["c_prev"])).exp())
    c = f * z["c_prev"] + i * z["z_g"].tanh()
    return 1 / (1 + (-(z["z_o"] + see_o * c)).exp()) * c.tanh()


@pytest.mark.parametrize("name", CELLS)
def test_the_printed_step_computes_the_equations(name: str) -> None:
    cell = get(name)
    inputs = random_inputs(cell)
    values = dict(zip(cell.values, compiled(cell.torch_source(), name)(*inputs), strict=True))
    expected = by_hand(name, dict(zip(cell.inputs, inputs, strict=True)))
    torch.testing.assert_close(values["h"], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_the_derived_backward_equals_autograd(name: str) -> None:
    cell = get(name)
    inputs = random_inputs(cell)
    values = dict(zip(cell.values, compiled(cell.torch_source(), name)(*inputs), strict=True))
    upstream = {state: torch.randn_like(values[state]) for state in cell.states}
    expected = torch.autograd.grad([values[state] for state in cell.states], inputs, list(upstream.values()))
    known = {f"d_{state}": gradient for state, gradient in upstream.items()}
    known |= {key: value.detach() for key, value in values.items()}
    known |= {key: value.detach() for key, value in zip(cell.inputs, inputs, strict=True)}
    backward = compiled(cell.torch_gradient_source(), f"{name}_backward")
    found = dict(zip(cell.gradients, backward(*(known[key] for key in cell.gradient_inputs)), strict=True))
    assert list(found) == [f"d_{key}" for key in cell.inputs]
    for key, gradient in zip(cell.inputs, expected, strict=True):
        torch.testing.assert_close(found[f"d_{key}"], gradient, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_the_printed_step_passes_gradcheck(name: str) -> None:
    cell = get(name)
    step = compiled(cell.torch_source(), name)
    assert torch.autograd.gradcheck(step, random_inputs(cell))


@pytest.mark.parametrize("name", CELLS)
def test_the_backward_reads_only_what_the_forward_keeps(name: str) -> None:
    cell = get(name)
    assert not any(key.startswith("z_") for key in cell.gradient_inputs)
    assert set(cell.gradient_inputs) == {
        *(f"d_{state}" for state in cell.states),
        *cell.values,
        *(f"{state}_prev" for state in cell.states[1:]),
        *(row for parameter in cell.parameters for row in parameter.feeds),
    }


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_survives_pickle_and_copy(name: str) -> None:
    cell = get(name)
    for twin in (pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        assert twin == cell
        assert twin.values == cell.values


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_says_where_it_comes_from(name: str) -> None:
    cell = get(name)
    assert cell.doc
    assert cell.references
    assert cell.latex().startswith("\\begin{aligned}\n")
    assert cell.latex_gradients().count("&=") >= len(cell.inputs)


def test_lstm_in_latex() -> None:
    assert r"c_t &= f_t \odot c_{t-1} + i_t \odot g_t" in get("lstm").latex()


def test_parameter_shape() -> None:
    (peepholes,) = get("peephole").parameters
    assert peepholes.shape(7) == (21,)


def test_an_unknown_cell_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'pephole'.*lstm, peephole, rnn.*Did you mean 'peephole'\?"):
        get("pephole")


def test_get_takes_a_cell() -> None:
    assert get(CELLS["rnn"]) is CELLS["rnn"]


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
