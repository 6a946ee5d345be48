"""The embedded Reber grammar: strings, endless streams of them, and what may follow each symbol.

A Reber string is a walk through a graph of seven nodes; an embedded one stands between two equal symbols:
`B T <Reber string> T E` or `B P <Reber string> P E`. Whoever predicts the symbol before the last must
remember the second one across the Reber string, which is full of the same two symbols. At each fork both
ways are taken with probability 1/2 (A. S. Reber, Implicit learning of artificial grammars, 1967;
A. Cleeremans, D. Servan-Schreiber and J. L. McClelland, Finite state automata and simple recurrent
networks, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

SYMBOLS = "BTPSXVE"

_REBER = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7),),
)
"""The Reber graph: of each node the edges that leave it, as (symbol, node); node 7 is its end."""

BEGINNING = 1
"""The node to which the first symbol of a string leads, and none else."""

_FIRST = SYMBOLS.index("B")
_START, _END = 0, 2
_MEMORIES = "TP"


def _entrance(memory: str) -> int:
    """The first node of the Reber graph that stands between two symbols `memory`."""
    return _END + 1 + _MEMORIES.index(memory) * (len(_REBER) + 1)


def _edges() -> list[list[tuple[str, int]]]:
    """The embedded graph: of each node the edges that leave it; the edge `E` leads back to the start."""
    edges = [[("B", BEGINNING)], [(memory, _entrance(memory)) for memory in _MEMORIES], [("E", _START)]]
    for memory in _MEMORIES:
        first = _entrance(memory)
        edges += [[(symbol, first + node) for symbol, node in leaving] for leaving in _REBER]
        edges.append([(memory, _END)])
    return edges


_EDGES = _edges()
_NODES: NDArray[np.int64] = np.array([[leaving[k % len(leaving)][1] for k in (0, 1)] for leaving in _EDGES])
_WRITTEN: NDArray[np.int64] = np.array(
    [[SYMBOLS.index(leaving[k % len(leaving)][0]) for k in (0, 1)] for leaving in _EDGES]
)


def _table_of_possible() -> NDArray[np.bool_]:
    table = np.zeros((len(_EDGES), len(SYMBOLS)), dtype=np.bool_)
    for node, written in enumerate(_WRITTEN):
        table[node, written] = True
    return table


_POSSIBLE = _table_of_possible()


def possible_after(nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`[..., 7]`: which symbols may follow at these nodes; at the end of a string, `B`."""
    return _POSSIBLE[nodes]


@dataclass(frozen=True)
class Strings:
    """N strings of the embedded grammar, padded at the end to the longest.

    Attributes:
        symbols: `[N, T]` places in `SYMBOLS`; 0 in the padding.
        nodes: `[N, T]` the nodes of the graph that the symbols lead to; 0 in the padding.
        lengths: `[N]` the symbols of each string, from 9 upwards.
    """

    symbols: NDArray[np.int64]
    nodes: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Self:
        """Some of the strings, padded to the longest of them only."""
        lengths = self.lengths[rows]
        longest = int(lengths.max(initial=0))
        return type(self)(self.symbols[rows, :longest], self.nodes[rows, :longest], lengths)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """`[N, T, 7]`: which symbols may follow each symbol; after the `E` that ends a string, `B`."""
        return possible_after(self.nodes)

    def valid(self) -> NDArray[np.bool_]:
        """`[N, T]`: whether a symbol stands there, rather than padding."""
        return np.arange(self.symbols.shape[1]) < self.lengths[:, None]

    def written(self) -> list[str]:
        """The strings as text, such as `"BTBPVVETE"`."""
        return [
            "".join(SYMBOLS[symbol] for symbol in row[:length])
            for row, length in zip(self.symbols, self.lengths, strict=True)
        ]


def draw_strings(count: int, random: np.random.Generator) -> Strings:
    """Draw strings: walks from the start of the embedded graph to its end.

    Args:
        count: N, how many.
        random: what decides at each fork.
    """
    node = np.zeros(count, dtype=np.int64)
    lengths = np.zeros(count, dtype=np.int64)
    symbols, nodes = [], []
    while not lengths.all():
        fork = random.integers(2, size=count)
        running = lengths == 0
        symbols.append(np.where(running, _WRITTEN[node, fork], 0))
        node = np.where(running, _NODES[node, fork], _START)
        nodes.append(node)
        lengths[running & (node == _START)] = len(nodes)
    return Strings(np.stack(symbols, axis=1), np.stack(nodes, axis=1), lengths)


class Streams:
    """Endless streams: strings one after another, with nothing to tell where one ends.

    Args:
        count: B, how many streams are walked side by side, each from the first symbol of a string.
        random: what decides at each fork.
    """

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.random = random
        self.node = np.full(count, BEGINNING, dtype=np.int64)
        self.symbol = np.full(count, _FIRST, dtype=np.int64)

    def walk(self, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Go on by so many steps.

        Returns:
            The symbols `[steps + 1, B]` from where each stream stood to where it now stands (so the last one
            comes first in the next call), and the nodes that they lead to.
        """
        fork = self.random.integers(2, size=(steps, len(self.node)))
        nodes = np.empty((steps + 1, len(self.node)), dtype=np.int64)
        nodes[0] = self.node
        for step in range(steps):
            nodes[step + 1] = _NODES[nodes[step], fork[step]]
        symbols = np.concatenate([self.symbol[None], _WRITTEN[nodes[:-1], fork]])
        self.symbol, self.node = symbols[-1], nodes[-1]
        return symbols, nodes

    def begin_again(self, rows: NDArray[np.bool_]) -> None:
        """Leave these streams, where `[B]` is true, and begin new ones in their places."""
        self.node = np.where(rows, BEGINNING, self.node)
        self.symbol = np.where(rows, _FIRST, self.symbol)


def draw_distinct_strings(count: int, random: np.random.Generator) -> Strings:
    """Draw strings until there are so many different ones, and return each once, in the order they came.

    So the later ones are the rarer and longer ones.

    Args:
        count: N, how many.
        random: what decides at each fork.
    """
    places: dict[str, int] = {}
    drawn = draw_strings(count, random)
    while True:
        for place, text in enumerate(drawn.written()):
            places.setdefault(text, place)
        if len(places) >= count:
            return drawn[np.array(list(places.values())[:count])]
        drawn = joined(drawn, draw_strings(count, random))


def joined(first: Strings, second: Strings) -> Strings:
    """The strings of both, in order, padded to the longest of all."""
    longest = max(first.symbols.shape[1], second.symbols.shape[1])

    def padded(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.pad(values, ((0, 0), (0, longest - values.shape[1])))

    return Strings(
        np.concatenate([padded(first.symbols), padded(second.symbols)]),
        np.concatenate([padded(first.nodes), padded(second.nodes)]),
        np.concatenate([first.lengths, second.lengths]),
    )
