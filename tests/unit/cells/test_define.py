"""`@holdfast.cell`: what it reads off a function, and each mistake with the line that it stands in."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cell_files import ENDS, KEEPS, body, check_refusal

import holdfast.cells
from holdfast.cells import CELLS, Cell, Parameter, get, modifiers
from holdfast.cells.define import VOCABULARY, cell
from holdfast.cells.expression import Expression, named, tanh
from holdfast.errors import ConfigError

MINIMAL = """
@cell
def minimal(f, g, c, p_f=-0.1, bias=0.5):
    "The forget gate alone."
    f, g = sigmoid(f + p_f * c), tanh(g)
    c = f * c + (1 - f) * g
    return named(f=f, g=g, c=c, h=tanh(c + bias))
"""


def test_a_bare_decorator_reads_everything_off_the_arguments(my_cells: Any) -> None:
    found = my_cells(MINIMAL).minimal
    assert isinstance(found, Cell)
    assert (found.name, found.gates, found.states) == ("minimal", ("f", "g"), ("h", "c"))
    assert [(own.name, own.feeds, own.start) for own in found.parameters] == [
        ("p_f", ("p_f",), -0.1),
        ("bias", ("bias",), 0.5),
    ]
    assert found.doc == "The forget gate alone."
    assert CELLS["minimal"] is found


def test_a_function_without_c_has_the_state_h_alone(my_cells: Any) -> None:
    found = my_cells("@cell\ndef plain(g):\n    return named(h=tanh(g))\n").plain
    assert (found.gates, found.states, found.parameters) == (("g",), ("h",), ())


def test_everything_can_be_given(my_cells: Any) -> None:
    found = my_cells("""
@cell(
    gates=("a", "b"),
    states=("h", "m"),
    parameters=(Parameter("weight_own", ("u", "v"), "two rows"),),
    split=("b",),
    references=("a paper, 2026",),
    name="other",
)
def written(a, x_b, r_b, b_b, m, u, v):
    a, b = sigmoid(a + u), tanh(x_b + v * r_b + b_b)
    m = a * m + b
    return named(a=a, b=b, m=m, h=m)
""").written
    assert found == CELLS["other"]
    assert (found.gates, found.states, found.split) == (("a", "b"), ("h", "m"), ("b",))
    assert found.parameters == (Parameter("weight_own", ("u", "v"), "two rows"),)
    assert found.references == ("a paper, 2026",)


def test_a_cell_may_be_defined_again_as_in_a_notebook(my_cells: Any) -> None:
    first = my_cells(MINIMAL).minimal
    second = my_cells(MINIMAL.replace("1 - f", "2 - f")).minimal
    assert CELLS["minimal"] is second
    assert first != second
    assert Cell.of(first.spec) == first
    assert Cell.of(second.spec) == second


def test_what_a_cell_may_call_comes_from_one_place() -> None:
    for name in VOCABULARY:
        assert name in holdfast.cells.__all__
        assert callable(getattr(holdfast.cells, name))


def test_a_cell_is_pickled_by_its_name_and_copied_as_itself(my_cells: Any) -> None:
    found = my_cells(MINIMAL).minimal
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(found, protocol)) == found
    assert copy.deepcopy(found) == found


def test_a_cell_that_cannot_be_found_again_is_not_pickled(my_cells: Any) -> None:
    first = my_cells(MINIMAL).minimal
    my_cells(MINIMAL)
    with pytest.raises(pickle.PicklingError, match=r"'minimal' pickles as my_cells\.minimal, which is not"):
        pickle.dumps(first)

    @cell
    def local(g: Any) -> Any:
        return holdfast.cells.expression.named(h=g)

    assert copy.deepcopy(local) == local
    with pytest.raises(pickle.PicklingError, match="define it once, at the top of a module"):
        pickle.dumps(local)


# What the file holds, the line counted from the decorator, and what is said about it.
MISTAKES: dict[str, tuple[str, int, str]] = {
    "an if": (body("if c > 0:", "    c = -c", KEEPS, ENDS), 3, r"truth value.*where\(condition, a, b\)"),
    "an and": (body("c = where(c > 0 and g > 0, f, g)", ENDS), 3, r"where\(condition, a, b\)"),
    "the built-in max": (body(KEEPS, "c = max(c, 0)", ENDS), 4, "truth value"),
    "torch": (
        body("g = torch.tanh(g)", KEEPS, ENDS),
        3,
        "Tensor, not Expression.*Did you mean tanh of holdfast",
    ),
    "math": (body(KEEPS, "c = math.exp(c)", ENDS), 4, "number, not Expression.*Did you mean exp of holdfast"),
    "numpy": (body(KEEPS, ENDS.replace("tanh", "np.tanh")), 4, "no.*tanh method.*holdfast.cells"),
    "a method": (body(KEEPS, "c = c.clamp(-1, 1)", ENDS), 4, "no 'clamp'.*operators and the functions"),
    "a power": (body(KEEPS, "c = c ** 0.5", ENDS), 4, "whole powers 1 to 8, got 0.5"),
    "a matrix product": (body("c = c @ f", KEEPS, ENDS), 3, r"unsupported operand.*@"),
    "a name that was not imported": (body(KEEPS, "c = log(c)", ENDS), 4, "from holdfast.cells import log"),
    "a typo": (
        body("f = sigmod(f)", KEEPS, ENDS),
        3,
        r"NameError.*'sigmod'.*Did you mean sigmoid of holdfast",
    ),
    "an error within a function of the file": (
        "def squash(x):\n    return 1 / (1 + x.exp())\n" + body("f = squash(f)", KEEPS, ENDS),
        2,
        "a symbol has no 'exp'",
    ),
    "an error of several lines": (
        body("c = (", "    f * c +", "    math.tanh(g)", ")", ENDS),
        5,
        "math|real",
    ),
    "no value": (
        body(KEEPS, "return named(c=c, h=None)"),
        4,
        "a symbol or a number is needed here, got None",
    ),
    "a return that is missing": (body(KEEPS, "named(c=c, h=tanh(c))"), 4, r"must return named.*None"),
    "a tuple returned": (body(KEEPS, "", "return c, tanh(c)"), 5, r"must return named\(\.\.\.\)"),
    "a dictionary of numbers": (body(KEEPS, "return {'c': c, 'h': 1}"), 4, r"must return named\(\.\.\.\)"),
    "a state that is not returned": (body(KEEPS, "return named(h=tanh(c))"), 4, "no next value for.*'c'"),
    "a value that has another's name": (body(KEEPS, "return named(c_prev=c, c=c, h=c)"), 4, "'c_prev'"),
    "a gate that does nothing": (body("c = c + tanh(g)", ENDS), 2, "argument f changes nothing"),
    "a parameter that does nothing": (body(KEEPS, ENDS, arguments="f, g, c, w=1"), 2, "argument w changes"),
    "a derivative without its value": (
        body("c = sigmoid(f) * c + g * g", "", ENDS),
        5,
        r"derivative reads g as it came in.*named\(\.\.\., g_in=g\)",
    ),
    "no gate": (body(KEEPS, ENDS, arguments="a, b, c"), 2, r"none of the usual gates.*gates=\('a', 'b'\)\)$"),
    "gates in another order": (
        body(KEEPS, ENDS, decorator="@cell(gates=('g', 'f'))"),
        2,
        r"must take \['g', 'f', 'c'\], got \['f', 'g', 'c'\]",
    ),
    "gates as one text": (body(KEEPS, ENDS, decorator="@cell(gates='fg')"), 2, "tuple of names, got 'fg'"),
    "states as one text": (body(KEEPS, ENDS, decorator="@cell(states='c')"), 2, "tuple of names, got 'c'"),
    "no h": (body(KEEPS, ENDS, decorator="@cell(states=('c', 'h'))"), 2, "the first state must be h"),
    "a parameter of the layer": (
        body(KEEPS, ENDS, arguments="f, g, c, bias_ih=0"),
        2,
        "a parameter is called 'bias_ih'; every layer has bias_hh, bias_ih",
    ),
    "a default that is no number": (body(KEEPS, ENDS, arguments="f, g, c, w='x'"), 2, "a number, got 'x'"),
    "a default that is not finite": (
        body(KEEPS, ENDS, arguments="f, g, c, w=float('nan')"),
        2,
        "the default of w is its first value, a number, got nan",
    ),
    "a default that is a truth value": (
        body(KEEPS, ENDS, arguments="f, g, c, w=True"),
        2,
        "the default of w is its first value, a number, got True",
    ),
    "any arguments": (body(KEEPS, ENDS, arguments="f, g, *c"), 2, r"plain arguments, got \*c"),
    "a keyword": (body(KEEPS, ENDS, arguments="f, g, *, c"), 2, "plain arguments, got c"),
    "a name that is no name": (body(KEEPS, ENDS, decorator="@cell(name='my-cell')"), 2, "Python identifier"),
    "a name that holdfast has": (
        body(KEEPS, ENDS, decorator="@cell(name='coupled')"),
        2,
        "holdfast has a cell of that name",
    ),
}


# What symbols refuse to be calculated with.
MISCALCULATIONS: dict[str, tuple[str, int, str]] = {
    "a tuple": (
        body(KEEPS, "h = tanh(normalise(c))", ENDS),
        4,
        r"got a tuple of 1: .*unpack.*\(n,\) = normal",
    ),
    "a tuple in a sum": (
        body(KEEPS, "c = c + normalise(c)", ENDS),
        4,
        "got a tuple of 1: normalise and prod",
    ),
    "a tuple as a value": (body(KEEPS, "return named(c=c, h=product('w', c))"), 4, "got a tuple of 1: norm"),
    "a tensor": (
        body(KEEPS, "c = c + tanh(torch.zeros(3))", ENDS),
        4,
        r"got a Tensor: .*first value, a=0\.1$",
    ),
    "a tensor in a sum": (body(KEEPS, "c = torch.zeros(3) * c", ENDS), 4, "got a Tensor: what a layer"),
    "an array": (body(KEEPS, "c = c + np.zeros(3)", ENDS), 4, "got a ndarray: what a layer"),
    "a text": (
        body("g = g + tanh('g')", KEEPS, ENDS),
        3,
        "got the text 'g': what a cell computes with is an arg",
    ),
    "nan": (body(KEEPS, "c = c * float('nan')", ENDS), 4, "a number in a cell must be finite, got nan"),
    "infinity": (
        body(KEEPS, "c = minimum(c, math.inf)", ENDS),
        4,
        "a number in a cell must be finite, got inf",
    ),
    "a division by 0": (body("g = g / 0", KEEPS, ENDS), 3, "g is divided by 0"),
    "a division of a number by 0": (
        body("g = g * (1 / 0.0)", KEEPS, ENDS),
        3,
        "ZeroDivisionError: float div",
    ),
    "a condition that is none": (
        body(KEEPS, "c = where(True, c, f)", ENDS),
        4,
        "where takes a comparison.*True",
    ),
    "a product with a symbol": (
        body(KEEPS, "(c,) = product(f, c)", ENDS),
        4,
        "takes the name of a matrix param",
    ),
    "a product of nothing": (body(KEEPS, "(c,) = product('w')", ENDS), 4, "'w', 0 parts, blocks=1"),
    "half a block": (body(KEEPS, "(c,) = product('w', c, blocks=0)", ENDS), 4, "1 parts, blocks=0"),
    "nothing normalised": (body(KEEPS, "n = normalise()", ENDS), 4, "normalise takes the parts to normalise"),
    "a value read too early": (
        body(KEEPS, ENDS, arguments="f, g"),
        3,
        "c is read before anything is assigned to it; an old c is an argument c$",
    ),
    "an equality": (
        body(KEEPS, "c = where(c == 0, f, c)", ENDS),
        4,
        "cannot be compared by == or !=; compare by <",
    ),
    "an inequality": (body(KEEPS, "c = where(c != f, f, c)", ENDS), 4, "cannot be compared by == or !="),
    "an and of symbols": (
        body(KEEPS, "c = f and c", ENDS),
        4,
        r"a symbol has no truth value yet.*where\(cond",
    ),
    "the built-in max of symbols": (
        body("c = max(f, c)", ENDS),
        3,
        "with maximum and minimum in that of max",
    ),
    "a torch function of another name": (
        body("f = torch.sigmoid(f)", KEEPS, ENDS),
        3,
        "mean sigmoid of holdfast",
    ),
    "an unchanged c": (
        body("n = sigmoid(f) * c + g", "return named(c=c, h=n)"),
        4,
        "the next c is the old one",
    ),
}
ALL_MISTAKES = MISTAKES | MISCALCULATIONS


@pytest.mark.parametrize("mistake", ALL_MISTAKES)
def test_a_mistake_is_named_with_its_line(my_cells: Any, mistake: str) -> None:
    check_refusal(my_cells, *ALL_MISTAKES[mistake])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("c = c ** 0.5", False),
        ("c = sigmod(c)", False),
        ("c = c + tanh(normalise(c))", False),
        ("c = c + g * g", False),
        ("c = torch.tanh(c)", True),
    ],
)
def test_only_an_error_from_elsewhere_is_shown_with_its_cause(my_cells: Any, line: str, shown: bool) -> None:
    with pytest.raises(ConfigError) as error:
        my_cells(body("f = sigmoid(f)", "c = f * c", line, "return named(f=f, c=c, h=tanh(c))"))
    assert error.value.__suppress_context__
    assert (error.value.__cause__ is not None) is shown


def test_a_cell_that_calls_another_wrongly_says_which(my_cells: Any) -> None:
    text = body("c = minimal.function(f, g)['c']", "return named(c=c, h=c)")
    with pytest.raises(
        ConfigError, match=r"line \d+: cell 'minimal': TypeError: .*missing 1 required"
    ) as error:
        my_cells(MINIMAL + text)
    assert str(error.value).count("my_cells.py") == 1


def test_the_advice_about_a_derivative_helps(my_cells: Any) -> None:
    text = body("c = sigmoid(f) * c + g * g", "return named(c=c, h=tanh(c), f_in=f, g_in=g)")
    assert my_cells(text).mine.gradients


def test_a_cell_shows_itself_in_one_line(my_cells: Any) -> None:
    found = my_cells(MINIMAL).minimal
    assert repr(found) == "<Cell minimal: gates f g, states h c>"
    modified = modifiers.padded(modifiers.zoneout(found, 0.1, 0.05))
    assert repr(modified) == "<Cell minimal: gates f g, states h c, zoneout(0.1, 0.05), padded()>"


def test_a_plain_function_is_told_how_it_becomes_a_cell() -> None:
    def plain(g: Any) -> Any:
        return {"h": g}

    with pytest.raises(
        ConfigError, match=r"^cell is plain, which is no cell; decorate its.* @holdfast\.cell$"
    ):
        get(plain)  # type: ignore[arg-type]


def test_only_a_function_is_decorated() -> None:
    with pytest.raises(ConfigError, match="makes a cell of a function, got 'mine'"):
        cell("mine")  # type: ignore[call-overload]


def test_a_function_without_source_still_has_a_line() -> None:
    names: dict[str, Any] = {}
    exec("def mine(g):\n    return named(h=tanh(g))", names)
    with pytest.raises(
        ConfigError, match=r"<string>, line 2: cell 'mine': name 'named' is not defined: from"
    ):
        cell(names["mine"])


@pytest.mark.parametrize("depth", [100, 200, 300, 450, 900])
def test_a_long_chain_runs_or_is_refused_with_its_line(depth: int) -> None:
    def chain(g: Expression, c: Expression) -> dict[str, Expression]:
        v = first = tanh(g)
        for _ in range(depth):
            v = tanh(v) * 0.5
        return named(g=first, c=c * 0.5 + v, h=v)

    try:
        found = cell(gates=("g",), name="chain")(chain)
    except ConfigError as error:
        assert depth > 200
        assert "its equations are nested too deeply" in str(error)  # noqa: PT017
        return
    everything = modifiers.padded(modifiers.reset(modifiers.zoneout(modifiers.clip(found, 1.0), 0.1, 0.1)))
    compile(everything.torch_source(), "<test>", "exec")
    compile(everything.torch_gradient_source(), "<test>", "exec")


SCALED = """
@cell
def scaled(g, c):
    g = tanh(0.3 * g)
    c = 0.5 * c + g
    return named(g=g, c=c, h=tanh(c))
"""


def test_a_number_beside_a_gate_needs_no_gradient(my_cells: Any) -> None:
    assert {"d_z_g", "d_c_prev"} <= set(my_cells(SCALED).scaled.gradients)
