"""What the arguments of a user's function stand for, and what is wrong with them, in the user's terms."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

USUAL_GATES = ("i", "f", "g", "o")
_WORDS = "previous|prev|old|last"
_OLD = re.compile(rf"(?:{_WORDS})_?(?P<one>\w+)|(?P<other>\w+?)_?(?:{_WORDS}|t_1|tm1|t)")
_OLD_H = (
    "the h of the step before is no argument, it is within the gates (W x + R h + b); if the equations need "
    "it elsewhere, carry it as a state of its own: states=('h', 'm'), an argument m, and named(..., m=h)"
)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a function, and what `holdfast.cell` was told of them; None where it was not.

    Attributes:
        given: the arguments by name, in order.
        told_gates: the gates.
        told_states: the states.
        told_rows: the row blocks of the declared vector parameters.
        split: the gates that come as three arguments.
    """

    given: Mapping[str, inspect.Parameter]
    told_gates: tuple[str, ...] | None
    told_states: tuple[str, ...] | None
    told_rows: tuple[str, ...] | None
    split: tuple[str, ...]

    @property
    def gates(self) -> tuple[str, ...]:
        """As told, else the leading arguments that are called like the usual gates."""
        if self.told_gates is not None:
            return self.told_gates
        return tuple(itertools.takewhile(USUAL_GATES.__contains__, self.given))

    @property
    def states(self) -> tuple[str, ...]:
        """As told, else h, and c if it is an argument."""
        if self.told_states is not None:
            return self.told_states
        return ("h", "c") if "c" in self.given else ("h",)

    @property
    def implied(self) -> tuple[str, ...]:
        """The arguments that are parameters because they are nothing else."""
        gates = sum(3 if gate in self.split else 1 for gate in self.gates)
        return tuple(self.given)[gates + len(self.states) - 1 :] if self.told_rows is None else ()

    def mistakes(self) -> Iterator[str]:
        """What is wrong with the arguments as such."""
        names = list(self.given)
        if names[:1] == ["self"]:
            yield "its function is a method; move it out of its class and leave self out"
        if self.told_gates is None:
            yield from self._misplaced()
        declared = {*self.gates, *self.states[1:], *(self.told_rows or ())}
        for name in names:
            if name not in declared and (name == "h" or _old(name) == "h"):
                yield _OLD_H
        for name in set(names) - set(self.implied):
            if self.given[name].default is not inspect.Parameter.empty:
                yield (
                    f"its argument {name} has a default, which is for parameters that parameters= does not "
                    "declare: those start at their start=, a state at 0 or as the call says"
                )

    def _misplaced(self) -> Iterator[str]:
        """Gates are to come first, then c, then parameters."""
        rest = list(self.given)[len(self.gates) :]
        late = set(rest) & set(USUAL_GATES) - {*self.states, *(self.told_rows or ())}
        if self.split:
            yield f"split={self.split} needs gates= too, with all gates in order"
        elif not self.gates:
            yield (
                "its first argument is none of the usual gates i, f, g, o; say which ones are gates: "
                f"@holdfast.cell(gates={self._guess()})"
            )
        elif late or (self.told_states is None and "c" in rest[1:]):
            gate = (
                ""
                if rest[0] == "c"
                else f"; if {rest[0]} is a gate, say @holdfast.cell(gates={self._guess()})"
            )
            yield (
                f"its arguments are {', '.join(self.given)}: gates must come first, then states, then "
                f"parameters{gate}"
            )

    def _guess(self) -> tuple[str, ...]:
        """The gates that the user may have meant."""
        names = [name for name in self.given if self.given[name].default is inspect.Parameter.empty]
        last = max((at for at, name in enumerate(names) if name in USUAL_GATES), default=-1)
        end = max(last + 1, names.index("c") if "c" in names else 0) or len(names)
        return tuple(name for name in names[:end] if name not in {"c", "h"} and _old(name) not in {"c", "h"})

    def mistakes_beside(self, values: Collection[str]) -> Iterator[str]:
        """What is wrong with arguments that are neither gates nor states, once the named values are known."""
        for name in (*self.implied, *(self.told_rows or ())):
            if name in values:
                yield (
                    f"{name} is an argument and a value: if it is a state, say states={self._and(name)}; if "
                    "it is a parameter, give the value another name"
                )
        for name in self.implied:
            old = _old(name)
            if old in values:
                yield f"its argument {name} looks like the old {old}: if it is, {self._way_to(old, name)}"
            default = self.given[name].default
            if default is inspect.Parameter.empty:
                yield (
                    f"its argument {name} is no gate and no state: if it is a parameter, give it a first "
                    f"value, {name}=0.1, or declare it in parameters=; if a state, "
                    f"say states={self._and(name)}"
                )
            number = isinstance(default, int | float) and not isinstance(default, bool)
            if not number or not math.isfinite(default):
                yield f"the default of {name} is its first value, a number, got {default!r}"

    def _way_to(self, old: str, name: str) -> str:
        """How a function gets what an argument of that name looks like."""
        if old in self.states:
            way = f"read {old} before anything is assigned to it"
        else:
            called = f"{old}_prev" if old in self.gates else old
            calls = "" if called == name else f"call it {called}"
            says = "" if (old, self.told_states) == ("c", None) else f"say states={self._and(old)}"
            way = " and ".join(filter(None, [calls, says]))
        return f"{way}; if it is a parameter, give it another name and a first value: w=0.1"

    def _and(self, state: str) -> tuple[str, ...]:
        return (*self.states, state)


def _old(name: str) -> str:
    """The c of `c_prev`, `prev_c`, `c_old`, `c_t`; nothing for other names."""
    found = _OLD.fullmatch(name)
    return (found["one"] or found["other"]) if found else ""
