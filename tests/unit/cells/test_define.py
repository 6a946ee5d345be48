"""`@holdfast.cell`: what it reads off a function, and each mistake with the line that it stands in."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holdfast.cells
from holdfast.cells import CELLS, Cell, Parameter
from holdfast.cells.define import VOCABULARY, cell
from holdfast.errors import ConfigError

HEAD = f"""import math
import numpy as np
import torch
from holdfast import cell
from holdfast.cells import Parameter, {", ".join(name for name in VOCABULARY if name != "log")}
"""
FIRST = HEAD.count("\n") + 1  # the line of the decorator in the files below


@pytest.fixture(autouse=True)
def _cells_are_left_as_they_were() -> Iterator[None]:
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)
    sys.modules.pop("my_cells", None)


@pytest.fixture
def my_cells(tmp_path: Path) -> Any:
    """Writes a user's file and imports it."""

    def load(body: str) -> ModuleType:
        path = tmp_path / "my_cells.py"
        path.write_text(HEAD + body.lstrip("\n"), encoding="utf-8")
        specification = importlib.util.spec_from_file_location("my_cells", path)
        assert specification is not None
        assert specification.loader is not None
        module = sys.modules["my_cells"] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


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


def body(*lines: str, decorator: str = "@cell", arguments: str = "f, g, c") -> str:
    return "\n".join([decorator, f"def mine({arguments}):", *(f"    {line}" for line in lines), ""])


KEEPS = "c = sigmoid(f) * c + tanh(g)"
ENDS = "return named(c=c, h=tanh(c))"

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


OWN = "parameters=(Parameter('weight_own', ('u',), 'own'),)"
LONGER = body("m = sigmoid(f) * c + tanh(g)", "return named(c=m, m=m, h=tanh(m))", arguments="f, g, c, m")

# Arguments that would stand for something else than the user means.
MISTAKEN_ARGUMENTS: dict[str, tuple[str, int, str]] = {
    f"the old c called {name}{default}": (
        body(KEEPS.replace("* c", f"* {name}"), ENDS, arguments=f"f, g, {name}{default}"),
        2,
        f"argument {name} looks like the old c: if it is, call it c; if it is a parameter, give it another",
    )
    for name in ("c_prev", "prev_c", "c_old", "c_t", "c_last", "last_c", "cprev", "previous_c", "c_tm1")
    for default in ("", "=0.1")
} | {
    "another old c": (
        body(KEEPS, ENDS, arguments="f, g, c, c_old=0.1"),
        2,
        "c_old looks like the old c: if it is, read c before anything is assigned to it; if",
    ),
    "an old value": (
        body("n = sigmoid(f) * n_prev + tanh(g)", "return named(n=n, h=n)", arguments="f, g, n_prev"),
        2,
        r"n_prev looks like the old n: if it is, call it n and say states=\('h', 'n'\); if",
    ),
    "an old gate": (
        body("f = sigmoid(f + f_prev)", KEEPS, "return named(f=f, c=c, h=c)", arguments="f, g, c, f_prev"),
        2,
        r"f_prev looks like the old f: if it is, say states=\('h', 'c', 'f'\); if",
    ),
    "an old gate of another name": (
        body("f = sigmoid(f + old_f)", KEEPS, "return named(f=f, c=c, h=c)", arguments="f, g, c, old_f"),
        2,
        r"old_f looks like the old f: if it is, call it f_prev and say states=\('h', 'c', 'f'\); if",
    ),
    "no first value": (
        body(KEEPS, "c = c + x", ENDS, arguments="f, g, c, x"),
        2,
        r"x is no gate and no state: .* a first value, x=0\.1, or declare.*say states=\('h', 'c', 'x'\)$",
    ),
    "a value that is called like a parameter": (
        body(KEEPS, "return named(c=c, w=c * w, h=c)", arguments="f, g, c, w=1"),
        2,
        r"w is an argument and a value: if it is a state, say states=\('h', 'c', 'w'\); if it is a parameter",
    ),
    "a state that was not declared": (
        LONGER,
        2,
        r"m is an argument and a value.*states=\('h', 'c', 'm'\); if",
    ),
    "a value that is called like a declared parameter": (
        body(KEEPS, "return named(c=c, u=c * u, h=c)", decorator=f"@cell({OWN})", arguments="f, g, c, u"),
        2,
        "u is an argument and a value",
    ),
    "the old h": (
        body("return named(h=f * h + g)", decorator="@cell(gates=('f', 'g'))", arguments="f, g, h"),
        2,
        r"the h of the step before is no argument.*: states=\('h', 'm'\).* named\(\.\.\., m=h\)$",
    ),
    "the old h after c": (body(KEEPS, ENDS, arguments="f, g, c, h"), 2, "the h of the step before is no arg"),
    "the old h by another name": (
        body(KEEPS, ENDS, arguments="f, g, c, h_prev=0"),
        2,
        "the h of the step bef",
    ),
    "a method": (body(KEEPS, ENDS, arguments="self, f, g, c"), 2, "is a method; move it out of its class"),
    "c before the gates": (
        body(KEEPS, ENDS, arguments="f, c, g"),
        2,
        r"are f, c, g: gates must come first.*ters$",
    ),
    "c at the front": (
        body(KEEPS, ENDS, arguments="c, f, g"),
        2,
        r"none of the usual.*gates=\('f', 'g'\)\)$",
    ),
    "a gate of another name among the usual": (
        body(KEEPS, ENDS, arguments="f, z, g, c"),
        2,
        r"are f, z, g, c: gates must .*; if z is a gate, say @holdfast.cell\(gates=\('f', 'z', 'g'\)\)$",
    ),
    "a gate of another name after the usual": (
        body(KEEPS, ENDS, arguments="f, g, z, c"),
        2,
        r"are f, g, z, c: gates must .*; if z is a gate, say @holdfast.cell\(gates=\('f', 'g', 'z'\)\)$",
    ),
    "a gate with a default": (
        body(KEEPS, ENDS, arguments="f, g=0, c=0"),
        2,
        "has a default, which is for param",
    ),
    "a state with a default": (body(KEEPS, ENDS, arguments="f, g, c=0"), 2, "its argument c has a default"),
    "a declared parameter with a default": (
        body(KEEPS, ENDS, decorator=f"@cell({OWN})", arguments="f, g, c, u=0.5"),
        2,
        "its argument u has a default.*start=",
    ),
    "split without gates": (
        body(KEEPS, ENDS, decorator="@cell(split=('g',))", arguments="f, x_g, r_g, b_g, c"),
        2,
        r"split=\('g',\) needs gates= too",
    ),
    "split as one text": (body(KEEPS, ENDS, decorator="@cell(split='g')"), 2, "tuple of names, got 'g'"),
    "references as one text": (body(KEEPS, ENDS, decorator="@cell(references='x')"), 2, "of names, got 'x'"),
    "the name of a parameter": (
        body(KEEPS, ENDS, decorator="@cell(parameters=['alpha'])", arguments="f, g, c, alpha"),
        2,
        r"must be a tuple of holdfast.cells.Parameter, got 'alpha'.*alpha=0\.1$",
    ),
    "one parameter": (
        body(KEEPS, ENDS, decorator="@cell(parameters=Parameter('w', ('u',), ''))", arguments="f, g, c, u"),
        2,
        "must be a tuple of holdfast.cells.Parameter, got Parameter",
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
ALL_MISTAKES = MISTAKES | MISTAKEN_ARGUMENTS | MISCALCULATIONS


@pytest.mark.parametrize("mistake", ALL_MISTAKES)
def test_a_mistake_is_named_with_its_line(my_cells: Any, mistake: str) -> None:
    text, line, message = ALL_MISTAKES[mistake]
    before = dict(CELLS)
    with pytest.raises(ConfigError, match=message) as error:
        my_cells(text)
    assert str(error.value).startswith(f"my_cells.py, line {FIRST + line - 1}: cell '")
    assert str(error.value).count("my_cells.py") == 1
    assert str(error.value).count("cell '") == 1
    assert "\n" not in str(error.value)
    assert before == CELLS


def test_the_advice_about_a_derivative_helps(my_cells: Any) -> None:
    text = body("c = sigmoid(f) * c + g * g", "return named(c=c, h=tanh(c), f_in=f, g_in=g)")
    assert my_cells(text).mine.gradients


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
