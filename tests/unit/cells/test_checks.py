"""Every refusal of `holdfast.cells.checks`, made once by a cell that is right but for one thing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from holdfast.cells import CELLS, Cell, Parameter, get, modifiers
from holdfast.cells.checks import _added, check_declaration, check_names, check_values
from holdfast.cells.expression import Expression, named, normalise, product, sigmoid, tanh, where
from holdfast.errors import ConfigError

Equations = Callable[..., dict[str, Expression]]


def leaky(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    f, g = sigmoid(f + p * c), tanh(g)
    (more,) = product("weight_c", c)
    c = f * c + g + more
    return named(f=f, g=g, c=c, h=tanh(c))


VECTOR, MATRIX = (
    Parameter("weight_f", ("p",), "a vector"),
    Parameter("weight_c", ("c",), "a matrix", columns=1),
)
RIGHT: dict[str, object] = {
    "name": "leaky",
    "function": leaky,
    "gates": ("f", "g"),
    "states": ("h", "c"),
    "parameters": (VECTOR, MATRIX),
}


def made(**changes: object) -> Cell:
    return Cell(**{**RIGHT, **changes})  # type: ignore[arg-type]


def test_the_cell_is_right_but_for_what_a_test_changes() -> None:
    cell = made()
    check_declaration(cell)
    check_values(cell, cell.plain_values)
    check_names(cell)


NAMES = "bias_hh, bias_ih, initial_c, initial_h, weight_hh, weight_hr, weight_ih"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my-cell"}, "its name must be a Python identifier other than torch, since code is printed"),
        ({"name": "class"}, "its name must be a Python identifier"),
        ({"name": "normalise"}, "its name must be a Python identifier"),
        ({"states": ("c", "h")}, "the first state must be h, got states ('c', 'h')"),
        ({"states": ()}, "the first state must be h, got states ()"),
        ({"split": ("i",)}, "split names ('i',), its gates are ('f', 'g')"),
        ({"parameters": (VECTOR, MATRIX, VECTOR)}, "two parameters are called 'weight_f'"),
        ({"gates": ("g", "f")}, "must take ['g', 'f', 'c', 'p'], got ['f', 'g', 'c', 'p']"),
    ]
    + [
        (
            {"parameters": (Parameter(name, ("p",), "a vector"), MATRIX)},
            f"a parameter is called {name!r}; every layer has {NAMES}",
        )
        for name in NAMES.split(", ")
    ]
    + [
        (
            {"parameters": (Parameter("weight_f", feeds, "a vector"), MATRIX)},  # type: ignore[arg-type]
            f"the feeds of 'weight_f' are a tuple of names, ('w',), got {feeds!r}",
        )
        for feeds in ("p", ())
    ],
    ids=str,
)
def test_a_declaration_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        made(**changes)
    assert str(error.value).startswith(f"cell {changes.get('name', 'leaky')!r}: ")


def forgets(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(h=tanh(f + g * p), c_next=c)


def keeps(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(c=c, h=tanh(c + f * p) * g)


def compares(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(up=g > c, c=f * c + p, h=tanh(c))


def rests(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(rate=sigmoid(p), c=f * c + p * g, h=tanh(c))


def chooses(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(c=where(f, c, p), h=tanh(g))


def adds_a_comparison(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(c=f * c + (g > p), h=tanh(c))


def chooses_a_comparison(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    return named(c=tanh(where(f > p, g > p, c)), h=tanh(c))


def multiplies_too_many(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
    (more,) = product("weight_c", c, g)
    return named(c=f * c + more, h=tanh(c * p))


def multiplies_for_too_many(
    f: Expression, g: Expression, c: Expression, p: Expression
) -> dict[str, Expression]:
    more, most = product("weight_c", c, blocks=2)
    return named(c=f * c + more * g, h=tanh(most * p))


def multiplies_by_nothing(
    f: Expression, g: Expression, c: Expression, p: Expression
) -> dict[str, Expression]:
    (more,) = product("weight_g", c)
    return named(c=f * c + more * g, h=tanh(c * p))


def multiplies_by_a_vector(
    f: Expression, g: Expression, c: Expression, p: Expression
) -> dict[str, Expression]:
    (more,) = product("weight_f", c)
    return named(c=f * c + more * g, h=tanh(c * p))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (forgets, "its function names no next value for the state 'c'"),
        (keeps, "the next c is the old one, so it never changes: name the new one, c=..."),
        (compares, "the value 'up' is a comparison; make numbers of it: where(..., 1, 0)"),
        (rests, "the value 'rate' depends on no gate and no old state: it never changes"),
        (chooses, "where takes a comparison first: where(c < 0, ..., ...)"),
        (adds_a_comparison, "a comparison is no number; make one of it: where(..., 1, 0)"),
        (chooses_a_comparison, "a comparison is no number; make one of it: where(..., 1, 0)"),
        (
            multiplies_by_nothing,
            "product('weight_g', ...) needs a parameter of that name: Parameter('weight_g', ..., columns",
        ),
        (multiplies_by_a_vector, "product('weight_f', ...) needs a parameter of that name"),
        (
            multiplies_too_many,
            "product('weight_c', ...) takes 1 parts and blocks=1, as its parameter is declared; got 2 and bl",
        ),
        (
            multiplies_for_too_many,
            "product('weight_c', ...) takes 1 parts and blocks=1, as its parameter is declared; got 1 and",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_values_that_no_step_can_compute_are_refused(function: Equations, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"cell 'leaky': {message}")):
        made(function=function)


IN_A_STEP = ("h_prev", "c_prev", "z_f", "p", "d_h", "d_c", "d_z_g", "d_p", "h_next", "c_raw", "torch", "in")
ADDED = (
    "h_start",
    "d_h_start",
    "starts",
    "valid",
    "keep_c",
    "drop_g",
    "scale_h",
    "limit_c",
    "weight_hr",
    "tap_f",
)


@pytest.mark.parametrize("name", IN_A_STEP + ADDED)
def test_a_value_that_takes_the_name_of_something_else_is_refused(name: str) -> None:
    def function(f: Expression, g: Expression, c: Expression, p: Expression) -> dict[str, Expression]:
        return {name: tanh(g), **leaky(f, g, c, p)}

    with pytest.raises(ConfigError, match=f"cell 'leaky': a value is called {name!r}, which is no Python id"):
        made(function=function)


@pytest.mark.parametrize("name", ["c_prev", "h_prev", "valid", "keep_h", "c_start"])
def test_two_inputs_of_one_name_are_refused(name: str) -> None:
    equations: dict[str, Equations] = {}
    exec(f"def function(f, g, c, {name}): return leaky(f, g, c, {name})", {"leaky": leaky}, equations)
    parameters = (Parameter("weight_f", (name,), "a vector"), MATRIX)
    with pytest.raises(ConfigError, match=f"cell 'leaky': its step has one name for two inputs: {name}$"):
        made(function=equations["function"], parameters=parameters)


@pytest.mark.parametrize("name", CELLS)
def test_the_names_that_modifiers_add_are_known(name: str) -> None:
    cell = get(name)
    modify: list[Callable[[Cell], Cell]] = [
        lambda cell: modifiers.cell_dropout(cell, 0.5),
        lambda cell: modifiers.state_dropout(cell, 0.5),
        modifiers.project,
        lambda cell: modifiers.zoneout(cell, 0.5, 0.5 if "c" in cell.states else 0.0),
        lambda cell: modifiers.expected_zoneout(cell, 0.5, 0.5 if "c" in cell.states else 0.0),
        modifiers.tapped,
        modifiers.reset,
        modifiers.padded,
    ]
    if "c" in cell.states:
        modify.append(lambda cell: modifiers.clip(cell, 1.0))
    for change in modify:
        cell = change(cell)
    new = {*cell.inputs, *cell.entering_inputs} - {*get(name).base_inputs, *get(name).matrices}
    assert new <= _added(get(name))
    assert {*cell.values} - {*get(name).values} <= {f"{state}_raw" for state in cell.states}
    left_out = set() if "c" in cell.states else {"clip"}
    assert {modifier for modifier, _ in cell.modifiers} == {*modifiers.ORDER} - left_out


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            (Parameter("w", ("a",), "", start=0.0), Parameter("w", ("b",), "", start=0.0)),
            "two parameters are",
        ),
        ((Parameter("w x", ("a", "b"), "", start=0.0),), "'w x', which is no Python identifier"),
        ((Parameter("w", ["a", "b"], "", start=0.0),), "the feeds of 'w' are a tuple"),  # type: ignore[arg-type]
    ],
)
def test_parameters_that_no_layer_could_have(parameters: tuple[Parameter, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cell("mine", lambda g, a, b: named(h=tanh(g + a * b)), ("g",), ("h",), parameters)


@pytest.mark.parametrize("name", ["z_g", "c_prev", "valid", "d_h", "drop_g", "keep_c"])
def test_a_matrix_called_like_something_in_the_step(name: str) -> None:
    matrix = Parameter(name, ("m",), "", columns=1)

    def mine(g: Expression, c: Expression) -> dict[str, Expression]:
        (seen,) = product(name, c)
        return named(c=c * tanh(g + seen), h=tanh(g))

    with pytest.raises(ConfigError, match="one name for two inputs"):
        Cell("mine", mine, ("g",), ("h", "c"), (matrix,))


def test_a_gate_called_like_a_state() -> None:
    with pytest.raises(ConfigError, match="a gate is called 'h', as a state is"):
        Cell("mine", lambda h: named(h=tanh(h)), ("h",), ("h",))


def test_a_product_needs_a_matrix() -> None:
    vector = Parameter("w", ("w",), "", start=0.0)

    def mine(g: Expression, c: Expression, w: Expression) -> dict[str, Expression]:
        (seen,) = product("w", c)
        return named(c=c * tanh(g + seen) + w, h=tanh(g))

    with pytest.raises(ConfigError, match=r"product\(.w., ...\) needs a matrix"):
        Cell("mine", mine, ("g",), ("h", "c"), (vector,))


def test_what_is_summed_over_units_must_change_from_row_to_row() -> None:
    def mine(g: Expression, p: Expression) -> dict[str, Expression]:
        a, b = normalise(p, g)
        return named(h=tanh(a + b))

    with pytest.raises(ConfigError, match="each part that normalise takes must depend on a gate"):
        Cell("mine", mine, ("g",), ("h",), (Parameter("p", ("p",), "", start=0.0),))
