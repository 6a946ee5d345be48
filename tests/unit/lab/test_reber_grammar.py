"""Strings and streams of the embedded Reber grammar, against an automaton written by hand."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from holdfast.lab.reber_grammar import (
    BEGINNING,
    SYMBOLS,
    Streams,
    Strings,
    draw_distinct_strings,
    draw_strings,
    possible_after,
)

# From node 3 of the graph to its end: round by V P X any number of times, then out by V V or V P S.
FROM_THE_THIRD_NODE = r"(?:T*VPX)*T*V(?:V|PS)"
REBER = rf"B(?:TS*X(?:S|X{FROM_THE_THIRD_NODE})|P{FROM_THE_THIRD_NODE})E"
EMBEDDED = re.compile(rf"B(T|P){REBER}\1E")


@pytest.fixture(scope="module")
def strings() -> Strings:
    return draw_strings(5000, np.random.default_rng(0))


def test_every_string_is_of_the_grammar(strings: Strings) -> None:
    wrong = [text for text in strings.written() if not EMBEDDED.fullmatch(text)]
    assert not wrong, wrong[:5]


def test_the_classic_string_is_drawn_and_broken_ones_are_not(strings: Strings) -> None:
    drawn = set(strings.written())
    assert "BTBPVVETE" in drawn
    assert not drawn & {"BTBPVVEPE", "BPBPVVETE", "BTBPVPETE"}


def test_both_ways_of_a_fork_are_as_likely(strings: Strings) -> None:
    """The second symbol and the first of the Reber string: each within five standard errors of one half."""
    for place in (1, 3):
        share = np.mean(strings.symbols[:, place] == SYMBOLS.index("T"))
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(len(strings))


def test_the_mean_length_is_that_of_the_graph(strings: Strings) -> None:
    """Twelve symbols on average: four around a Reber string, whose mean of 8 solves the graph's equations."""
    assert strings.lengths.min() == 9
    assert abs(strings.lengths.mean() - 12) < 5 * strings.lengths.std() / np.sqrt(len(strings))


def test_what_may_follow_is_what_follows_somewhere(strings: Strings) -> None:
    """Seen from the data alone: after the same beginnings, the union of next symbols is `possible`."""
    seen: dict[str, set[str]] = {}
    texts = strings.written()
    for text in texts:
        for step in range(1, len(text)):
            seen.setdefault(text[:step], set()).add(text[step])
    possible = strings[:200].possible
    for row, text in enumerate(texts[:200]):
        for step in range(len(text) - 1):
            may = {SYMBOLS[k] for k in np.flatnonzero(possible[row, step])}
            assert seen[text[: step + 1]] <= may
            assert len(may) <= 2
            if step < 5:  # 5000 strings show every fork so early
                assert seen[text[: step + 1]] == may


def test_the_symbol_before_the_last_is_certain_and_is_the_second(strings: Strings) -> None:
    rows = np.arange(len(strings))
    before = strings.possible[rows, strings.lengths - 3]
    assert (before.sum(axis=1) == 1).all()
    assert (before.argmax(axis=1) == strings.symbols[:, 1]).all()


def test_distinct_strings_keep_the_order_in_which_they_came() -> None:
    drawn = draw_distinct_strings(300, np.random.default_rng(1)).written()
    assert len(set(drawn)) == 300
    first = draw_strings(300, np.random.default_rng(1)).written()
    assert drawn[: len(set(first))] == list(dict.fromkeys(first))


def test_some_strings_are_cut_to_the_longest_of_them(strings: Strings) -> None:
    shortest = np.flatnonzero(strings.lengths == 9)[:3]
    some = strings[shortest]
    assert some.symbols.shape == (3, 9)
    assert some.valid().all()


def test_streams_are_strings_one_after_another() -> None:
    symbols, nodes = Streams(4, np.random.default_rng(2)).walk(2000)
    for row in range(4):
        text = "".join(SYMBOLS[symbol] for symbol in symbols[:, row])
        begins = np.flatnonzero(nodes[:, row] == BEGINNING)
        assert begins[0] == 0
        parts = [text[a:b] for a, b in pairwise(begins)]
        assert len(parts) > 100
        assert all(EMBEDDED.fullmatch(part) for part in parts)
        followed = possible_after(nodes[:-1, row])[np.arange(2000), symbols[1:, row]]
        assert followed.all()


def test_a_walk_goes_on_where_the_last_one_stood() -> None:
    streams = Streams(3, np.random.default_rng(3))
    whole, _ = streams.walk(50)
    more, _ = streams.walk(50)
    assert (more[0] == whole[-1]).all()
    text = "".join(SYMBOLS[symbol] for symbol in np.concatenate([whole, more[1:]])[:, 0])
    assert all(EMBEDDED.fullmatch(part) for part in re.findall(r"B[TP]B.*?E[TP]E(?=B[TP]B)", text))


def test_a_stream_begins_again_alone() -> None:
    streams = Streams(2, np.random.default_rng(4))
    before, _ = streams.walk(7)
    streams.begin_again(np.array([True, False]))
    symbols, nodes = streams.walk(3)
    assert nodes[0, 0] == BEGINNING
    assert SYMBOLS[symbols[0, 0]] == "B"
    assert symbols[0, 1] == before[-1, 1]
