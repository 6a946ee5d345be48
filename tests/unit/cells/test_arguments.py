"""`@holdfast.cell`: arguments that would stand for something else than the user means are refused."""

from __future__ import annotations

from typing import Any

import pytest
from cell_files import ENDS, KEEPS, body, check_refusal

OWN = "parameters=(Parameter('weight_own', ('u',), 'own'),)"
LONGER = body("m = sigmoid(f) * c + tanh(g)", "return named(c=m, m=m, h=tanh(m))", arguments="f, g, c, m")

# What the file holds, the line counted from the decorator, and what is said about it.
MISTAKES: dict[str, tuple[str, int, str]] = {
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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_argument_that_cannot_be_meant_so_is_refused(my_cells: Any, mistake: str) -> None:
    check_refusal(my_cells, *MISTAKES[mistake])


GATES = "f, g = sigmoid(f), tanh(g)"
NAMED = "return named(f=f, g=g, c=f * c + g, h=tanh(f * c + g))"

# The file with the advice of a message followed, and the gates, states and parameters that come of it.
ADVICE: dict[str, tuple[str, str, str, str]] = {
    "the old c is called c": (body(GATES, NAMED), "fg", "hc", ""),
    "a first value": (body(GATES, "c = c * x", NAMED, arguments="f, g, c, x=0.1"), "fg", "hc", "x"),
    "another state": (
        body(
            GATES,
            NAMED.replace("h=", "m=m + c, h=m * "),
            decorator="@cell(states=('h', 'c', 'm'))",
            arguments="f, g, c, m",
        ),
        "fg",
        "hcm",
        "",
    ),
    "an old gate": (
        body(
            "f, g = sigmoid(f + f_prev), tanh(g)",
            NAMED,
            decorator="@cell(states=('h', 'c', 'f'))",
            arguments="f, g, c, f_prev",
        ),
        "fg",
        "hcf",
        "",
    ),
    "an old h": (
        body(
            "z, n = sigmoid(z), tanh(n)",
            "h = z * m + (1 - z) * n",
            "return named(z=z, n=n, m=h, h=h)",
            decorator="@cell(gates=('z', 'n'), states=('h', 'm'))",
            arguments="z, n, m",
        ),
        "zn",
        "hm",
        "",
    ),
    "a gate of another name": (
        body(
            GATES,
            NAMED.replace("h=", "z=exp(z), h=exp(z) * "),
            decorator="@cell(gates=('f', 'z', 'g'))",
            arguments="f, z, g, c",
        ),
        "fzg",
        "hc",
        "",
    ),
    "like the old of no value": (
        body(GATES, "c = c * last_x", NAMED, arguments="f, g, c, last_x=1"),
        "fg",
        "hc",
        "last_x",
    ),
}


@pytest.mark.parametrize("advice", ADVICE)
def test_what_a_message_advises_is_a_cell(my_cells: Any, advice: str) -> None:
    text, gates, states, parameters = ADVICE[advice]
    found = my_cells(text).mine
    assert "".join(found.gates) == gates
    assert "".join(found.states) == states
    assert "".join(own.name for own in found.parameters) == parameters
    assert found.gradients
