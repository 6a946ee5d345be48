"""Modifiers: what they refuse, that their order does not matter, and how operators name a modified cell."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest

from holdfast.cells import Cell, Parameter, get, modifiers
from holdfast.cells.cell import Cell as CellClass
from holdfast.cells.expression import named, sigmoid, symbols_of, tanh
from holdfast.cells.registry import BUILT_IN
from holdfast.errors import ConfigError

Modify = Callable[[Cell], Cell]
NAMES = [cell.name for cell in BUILT_IN]

ALL: dict[str, Modify] = {
    "clip": lambda cell: modifiers.clip(cell, 2.0),
    "cell_dropout": lambda cell: modifiers.cell_dropout(cell, 0.25),
    "state_dropout": lambda cell: modifiers.state_dropout(cell, 0.5),
    "project": modifiers.project,
    "zoneout": lambda cell: modifiers.zoneout(cell, 0.1, 0.2),
    "tapped": modifiers.tapped,
    "reset": modifiers.reset,
    "padded": modifiers.padded,
}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ALL, 2)))
def test_the_order_of_two_modifiers_does_not_matter(one: str, other: str) -> None:
    cell = get("peephole")
    first, second = ALL[other](ALL[one](cell)), ALL[one](ALL[other](cell))
    assert first == second
    assert first.torch_source() == second.torch_source()
    assert first.torch_gradient_source() == second.torch_gradient_source()


@pytest.mark.parametrize("name", NAMES)
def test_operators_find_a_modified_cell_by_its_spec(name: str) -> None:
    fitting = [modify for kind, modify in ALL.items() if kind != "clip" or "c" in get(name).values]
    fitting = fitting if "c" in get(name).states else [m for m in fitting if m is not ALL["zoneout"]]
    cell = reduce(lambda cell, modify: modify(cell), fitting, get(name))
    assert CellClass.of(cell.spec) == cell
    assert CellClass.of(cell.spec).values == cell.values
    for twin in (pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        assert twin == cell
        assert twin.spec == cell.spec


def test_a_spec_says_what_was_done() -> None:
    cell = modifiers.zoneout(modifiers.clip(get("lstm"), 3.0), 0.1, 0.05)
    assert cell.spec == "lstm|clip(3.0)|zoneout(0.1,0.05)"


def test_a_modifier_replaces_the_one_of_its_kind() -> None:
    assert modifiers.clip(modifiers.clip(get("lstm"), 3.0), 1.0) == modifiers.clip(get("lstm"), 1.0)


def test_a_spec_of_nothing_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nowhere' is not defined in this process"):
        CellClass.of("nowhere|project()")


def test_two_cells_of_one_name_are_told_apart() -> None:
    """A layer made before its cell was defined anew keeps the equations it was made with."""
    lstm = get("lstm")
    other = CellClass(
        "lstm",
        get("no_input_activation").function,
        lstm.gates,
        lstm.states,
        get("no_input_activation").parameters,
    )
    assert other.spec != lstm.spec
    assert CellClass.of(other.spec) == other
    assert CellClass.of("lstm") == lstm


def test_c_is_clipped_for_all_its_later_uses() -> None:
    cell = modifiers.clip(get("peephole"), 2.0)
    for name in ("c", "o", "h"):
        assert "limit_c" in symbols_of([cell.values[name]]), name
    for name in ("i", "f", "g"):
        assert "limit_c" not in symbols_of([cell.values[name]]), name


def test_h_is_computed_from_the_c_before_zoneout() -> None:
    cell = modifiers.zoneout(get("peephole"), 0.0, 0.5)
    assert "keep_c" in symbols_of([cell.values["c"]])
    assert "keep_c" not in symbols_of([cell.values["h"], cell.values["o"]])


def test_the_candidate_is_shown_before_its_dropout() -> None:
    cell = modifiers.cell_dropout(get("lstm"), 0.5)
    assert cell.values["g"] is get("lstm").values["g"]
    assert "drop_g" in symbols_of([cell.values["c"]])


@pytest.mark.parametrize(
    ("modify", "message"),
    [
        (lambda cell: modifiers.clip(cell, 0.0), "limit of c is 0.0; it must be positive"),
        (lambda cell: modifiers.clip(cell, float("nan")), "limit of c is nan"),
        (lambda cell: modifiers.cell_dropout(cell, 1.0), "probability is 1.0; it must be at least 0"),
        (lambda cell: modifiers.state_dropout(cell, -0.1), "probability is -0.1"),
        (lambda cell: modifiers.zoneout(cell, 0.1, 1.5), "probability is 1.5"),
        (lambda _: modifiers.clip(get("rnn"), 1.0), "c is to be clipped, but the cell 'rnn' has no c"),
        (lambda _: modifiers.zoneout(get("rnn"), 0.1, 0.1), "keep c, but the cell 'rnn' has no c"),
    ],
)
def test_what_a_modifier_refuses(modify: Modify, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        modify(get("lstm"))


def test_dropout_needs_a_candidate() -> None:
    shown = CellClass("shown", lambda u: {"h": u * 2}, ("u",), ("h",))
    with pytest.raises(ConfigError, match="acts on the candidate g, but the cell 'shown' has no g"):
        modifiers.cell_dropout(shown, 0.5)


@pytest.mark.parametrize("modify", [modifiers.cell_dropout, modifiers.state_dropout, modifiers.zoneout])
def test_what_never_happens_changes_nothing(modify: Callable[[Cell, float], Cell]) -> None:
    assert modify(get("lstm"), 0.0) is get("lstm")


@pytest.mark.parametrize("kind", ["project", "zoneout"])
def test_a_value_that_a_modifier_hides_is_kept(kind: str) -> None:
    """Nothing else tells the backward step what h was before."""
    bare = CellClass("bare", lambda g: {"h": tanh(g)}, ("g",), ("h",))
    modify = {"project": modifiers.project, "zoneout": lambda cell: modifiers.zoneout(cell, 0.5)}[kind]
    cell = modify(bare)
    assert list(cell.values) == ["h_raw", "h"]
    assert "h_raw" in cell.torch_gradient_source()
    assert list(modify(get("rnn")).values) == ["g", "h"]


def test_names_that_end_like_an_old_state() -> None:
    """Padding passes on the gradients of old states, and of nothing else that is called so."""
    cell = modifiers.padded(
        CellClass(
            "mine",
            lambda f_prev, g, c, a_prev: named(
                f=sigmoid(f_prev + a_prev), g=tanh(g), c=c * sigmoid(f_prev + a_prev) + tanh(g), h=tanh(c)
            ),
            ("f_prev", "g"),
            ("h", "c"),
            (Parameter("a_prev", ("a_prev",), "", start=1.0),),
        )
    )
    source = cell.torch_gradient_source()
    assert "d_a, " not in source
    compile(source, "<test>", "exec")
    assert symbols_of([cell.gradients["d_a_prev"]]).isdisjoint({"d_a", "d_a_prev"})


def test_numbers_of_another_library() -> None:
    assert modifiers.clip(get("lstm"), np.float64(3)) == modifiers.clip(get("lstm"), 3)
    assert CellClass.of(modifiers.clip(get("lstm"), np.float64(3)).spec) == modifiers.clip(get("lstm"), 3.0)
