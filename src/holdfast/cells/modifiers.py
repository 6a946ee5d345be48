"""Modifiers: functions from cell to cell that rewrite its step. They compose with every cell, in any order.

Each function gives the cell one more modifier; whatever the order of the calls, the cell applies them in
that of `ORDER`, innermost first: c is clipped before dropout and projection, zoneout comes last of what
changes the equations, then what a call adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.cells.expression import Expression, maximum, minimum, product, symbol, where
from holdfast.cells.graph import Draw, Graph
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.cells.cell import Cell

PROJECTION = "weight_hr"
# What keeps the masks of a call apart: `Draw.stream`.
ZONEOUT_H, ZONEOUT_C, CELL_DROPOUT, STATE_DROPOUT = range(4)


def clip(cell: Cell, limit: float) -> Cell:
    """c is held within `[-limit, limit]` before anything else of the step reads it (Sak et al. 2014).

    Raises:
        ConfigError: the limit is not positive, or the cell has no c.
    """
    if not limit > 0:
        raise ConfigError(f"the limit of c is {limit}; it must be positive")
    _needs(cell, "c", "c is to be clipped")
    return cell.modified("clip", limit)


def cell_dropout(cell: Cell, probability: float) -> Cell:
    """Dropout of the candidate g at each step, so that c is never dropped (Semeniuta et al. 2016).

    Raises:
        ConfigError: the probability is not in [0, 1), or the cell names no value g.
    """
    _needs(cell, "g", "dropout acts on the candidate g")
    return _unless_never(cell, "cell_dropout", probability)


def state_dropout(cell: Cell, probability: float) -> Cell:
    """Dropout of the h that enters R, one mask per sequence for all gates (Gal and Ghahramani 2016).

    Raises:
        ConfigError: the probability is not in [0, 1).
    """
    return _unless_never(cell, "state_dropout", probability)


def zoneout(cell: Cell, h: float, c: float = 0.0) -> Cell:
    """In training: each unit of h and c keeps its old value with these probabilities (Krueger et al. 2017).

    h is computed from the new c, whether or not that one is kept.

    Raises:
        ConfigError: a probability is not in [0, 1), or c is to be kept and the cell has none.
    """
    return _zoned(cell, "zoneout", h, c)


def expected_zoneout(cell: Cell, h: float, c: float = 0.0) -> Cell:
    """At evaluation: the expectation of `zoneout`, p times the old value plus 1 - p times the new.

    Raises:
        ConfigError: as `zoneout`.
    """
    return _zoned(cell, "expected_zoneout", h, c)


def project(cell: Cell) -> Cell:
    """h is `weight_hr` `[P, H]` times what the equations give (Sak et al. 2014)."""
    return cell.modified("project")


def reset(cell: Cell) -> Cell:
    """The state is re-initialised before a step whose `starts` is true."""
    return cell.modified("reset")


def padded(cell: Cell) -> Cell:
    """The state passes unchanged through a step whose `valid` is false, and nothing flows back from there."""
    return cell.modified("padded")


def tapped(cell: Cell) -> Cell:
    """Zeros are added to each pre-activation, to h and to c: their gradients show what flows backwards."""
    return cell.modified("tapped")


def _zoned(cell: Cell, name: str, h: float, c: float) -> Cell:
    if c > 0:
        _needs(cell, "c", "zoneout is to keep c")
    return _unless_never(cell, name, h, c)


def _unless_never(cell: Cell, name: str, *probabilities: float) -> Cell:
    """The modified cell; the cell itself where all the probabilities are 0."""
    checked = [_probability(probability) for probability in probabilities]
    return cell.modified(name, *checked) if any(checked) else cell


def _probability(value: float) -> float:
    if not 0 <= value < 1:
        raise ConfigError(f"the probability is {value}; it must be at least 0 and less than 1")
    return float(value)


def _needs(cell: Cell, name: str, purpose: str) -> None:
    if name not in cell.values:
        raise ConfigError(f"{purpose}, but the cell {cell.name!r} has no {name}")


def _clip(graph: Graph, _cell: Cell, limit: float) -> Graph:
    bound = symbol("limit_c")

    def within(c: Expression) -> Expression:
        return minimum(maximum(c, -bound), bound)

    clipped = within(graph.values["c"])
    return graph.with_later_uses("c", within).with_value("c", clipped).reading(limit_c=limit)


def _dropped(value: Expression, what: str) -> Expression:
    return where(symbol(f"drop_{what}"), 0, value * symbol(f"scale_{what}"))


def _cell_dropout(graph: Graph, _cell: Cell, probability: float) -> Graph:
    draw = Draw("drop_g", "g", CELL_DROPOUT, probability)
    rewritten = graph.with_later_uses("g", lambda g: _dropped(g, "g"))
    return rewritten.reading(draw, scale_g=1 / (1 - probability))


def _state_dropout(graph: Graph, _cell: Cell, probability: float) -> Graph:
    draw = Draw("drop_h", "h", STATE_DROPOUT, probability, per_sequence=True)
    entering = _dropped(graph.entering, "h")
    return replace(graph, entering=entering).reading(draw, scale_h=1 / (1 - probability))


def _project(graph: Graph, _cell: Cell) -> Graph:
    (narrow,) = product(PROJECTION, graph.values["h"])
    return graph.with_value("h", narrow)


def _zoneout(graph: Graph, _cell: Cell, h: float, c: float) -> Graph:
    for name, stream, probability in (("c", ZONEOUT_C, c), ("h", ZONEOUT_H, h)):
        if probability > 0:
            draw = Draw(f"keep_{name}", name, stream, probability)
            kept = where(symbol(f"keep_{name}"), symbol(f"{name}_prev"), graph.values[name])
            graph = graph.with_value(name, kept).reading(draw)
    return graph


def _expected_zoneout(graph: Graph, _cell: Cell, h: float, c: float) -> Graph:
    for name, probability in (("c", c), ("h", h)):
        if probability > 0:
            share = symbol(f"zoneout_{name}")
            mixed = share * symbol(f"{name}_prev") + (1 - share) * graph.values[name]
            graph = graph.with_value(name, mixed).reading(**{f"zoneout_{name}": probability})
    return graph


def _tapped(graph: Graph, cell: Cell) -> Graph:
    # The bias of a split gate is a term of its pre-activation; the gate itself is not a symbol.
    entries = {gate: f"b_{gate}" if gate in cell.split else f"z_{gate}" for gate in cell.gates}
    graph = graph.with_symbols(
        {entry: symbol(entry) + symbol(f"tap_{gate}") for gate, entry in entries.items()}
    )
    for state in cell.tapped[len(cell.gates) :]:
        plus_tap = symbol(f"tap_{state}").__radd__
        shown = plus_tap(graph.values[state])
        graph = graph.with_later_uses(state, plus_tap).with_value(state, shown)
    return replace(graph, taps=tuple(f"tap_{name}" for name in cell.tapped))


def _reset(graph: Graph, cell: Cell) -> Graph:
    return graph.with_symbols(
        {
            f"{state}_prev": where(symbol("starts"), symbol(f"{state}_start"), symbol(f"{state}_prev"))
            for state in cell.states
        }
    )


def _padded(graph: Graph, cell: Cell) -> Graph:
    carried = {
        state: where(symbol("valid"), value, symbol(f"{state}_prev"))
        for state, value in graph.carried.items()
    }
    return replace(graph, carried=carried, padded=True)


Rewrite = Callable[..., Graph]

ORDER: dict[str, Rewrite] = {
    "clip": _clip,
    "cell_dropout": _cell_dropout,
    "state_dropout": _state_dropout,
    "project": _project,
    "zoneout": _zoneout,
    "expected_zoneout": _expected_zoneout,
    "tapped": _tapped,
    "reset": _reset,
    "padded": _padded,
}
