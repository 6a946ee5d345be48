"""The configurations of a call that the contract covers, and the numbers that go in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from contract.papers import PAPERS, Named, Paper
from torch import Tensor

T, B, I, H, P = 6, 4, 3, 5, 4  # noqa: E741 - the letters of holdfast.notation
LENGTHS = (6, 2, 0, 5)
# (t, b): in the first step, in the middle, twice running, in the last step, and in what lengths make padding.
RESETS = ((2, 0), (3, 0), (1, 1), (4, 1), (0, 2), (0, 3), (4, 3), (5, 3))

CLIP, SEMENIUTA, GAL, ZONEOUT, DROPOUT = 0.7, 0.2, 0.25, (0.3, 0.2), 0.2
# What layer norm adds is drawn near these: with gains near 1 and h near 0 few units that are normalised are
# chaotic, and so are their rounding errors.
NEAR = {"gain_ih": 0.3, "gain_hh": 0.1, "gain_c": 0.3, "bias_c": 0.8}
NOISE_SEED = 0x1E3779B97F4A7C15  # both of its words matter


@dataclass(frozen=True)
class Case:
    """One call of a stack of layers; a switch for each change, then the sizes."""

    cell: str
    layers: int = 1
    bidirectional: bool = False
    projection: bool = False
    no_bias: bool = False
    no_state: bool = False
    lengths: bool = False
    reset: bool = False
    start: bool = False
    residual: bool = False
    dropout: bool = False
    clip: bool = False
    semeniuta: bool = False
    gal: bool = False
    zoneout: bool = False
    expected_zoneout: bool = False
    steps: int = T
    batch: int = B
    inputs: int = I
    hidden: int = H
    projected: int = P

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        return self.projected if self.projection else self.hidden

    @property
    def paper(self) -> Paper:
        return PAPERS[self.cell]

    @property
    def row_lengths(self) -> tuple[int, ...]:
        whole = (self.steps,) * self.batch
        return tuple(map(min, whole, itertools.cycle(LENGTHS))) if self.lengths else whole

    @property
    def draws(self) -> bool:
        """Whether its masks need a seed."""
        return self.semeniuta or self.gal or self.zoneout

    @property
    def valid(self) -> Tensor:
        """`[T, B]`."""
        return torch.arange(self.steps).unsqueeze(1) < torch.tensor(self.row_lengths)

    def width_of(self, state: str) -> int:
        return self.width if state == "h" else self.hidden

    def __str__(self) -> str:
        on = [field.name for field in fields(self) if getattr(self, field.name) is True]
        return "-".join([*(["2_layers"] if self.layers == 2 else []), *on]) or "plain"


# What a change needs to have any effect.
CHANGES: dict[str, dict[str, Any]] = {
    "layers": {"layers": 2},
    "residual": {"residual": True, "layers": 2},
    "dropout": {"dropout": True, "layers": 2},
    "start": {"start": True, "reset": True},
} | {
    name: {name: True}
    for name in (
        *("bidirectional", "projection", "no_bias", "no_state", "lengths", "reset"),
        *("clip", "semeniuta", "gal", "zoneout", "expected_zoneout"),
    )
}
EXCLUSIVE = {frozenset({"zoneout", "expected_zoneout"})}
WITHOUT_C = {"clip"}
MOST_CHANGES = 6


def case_of(cell: str, names: Iterable[str], **sizes: int) -> Case:
    """The cell with these changes."""
    options: dict[str, Any] = dict(sizes)
    for name in names:
        options |= CHANGES[name]
    return Case(cell, **options)


def changes_of(cell: str) -> list[str]:
    """Those that the cell takes."""
    return [name for name in CHANGES if "c" in PAPERS[cell].states or name not in WITHOUT_C]


def together(names: set[str]) -> bool:
    return not any(pair <= names for pair in EXCLUSIVE)


@cache
def covering(cell: str) -> tuple[Case, ...]:
    """Cases of several changes at once in which every pair of changes meets; other sets for other cells."""
    names = changes_of(cell)
    missing = {frozenset(pair) for pair in itertools.combinations(names, 2) if together(set(pair))}
    chance = random.Random(cell)
    found = []
    while missing:
        chosen = set(min(missing, key=sorted))
        while len(chosen) < MOST_CHANGES:
            others = [name for name in names if name not in chosen and together({*chosen, name})]
            chance.shuffle(others)
            gain = {name: sum(frozenset({name, one}) in missing for one in chosen) for name in others}
            best = max(others, key=gain.__getitem__)
            chosen.add(best)
        missing -= {frozenset(pair) for pair in itertools.combinations(chosen, 2)}
        found.append(case_of(cell, chosen))
    return tuple(found)


def alone(cell: str) -> list[Case]:
    """The plain case and each change to it alone."""
    return list(dict.fromkeys([Case(cell), *(case_of(cell, (name,)) for name in changes_of(cell))]))


def sample(cell: str) -> list[Case]:
    """Each change alone and every pair of changes."""
    return list(dict.fromkeys([*alone(cell), *covering(cell)]))


def small_sample(cell: str) -> tuple[Case, ...]:
    """For the types whose loops differ by rounding only: two of many changes."""
    return covering(cell)[:: len(covering(cell)) - 1]


NOISES: tuple[tuple[str, ...], ...] = (
    (), ("clip",), ("semeniuta",), ("gal",), ("zoneout",), ("expected_zoneout",),
    ("clip", "semeniuta", "gal", "zoneout"),
)  # fmt: skip
STACKS: tuple[tuple[str, ...], ...] = ((), ("layers",), ("residual",), ("dropout",))


def grid(cell: str, modifiers: tuple[str, ...]) -> Iterator[Case]:
    """Every combination of everything else, with these modifiers."""
    switches = ("bidirectional", "projection", "no_bias", "no_state", "lengths")
    resets: tuple[tuple[str, ...], ...] = ((), ("reset",), ("start",))
    for stack, reset, *on in itertools.product(STACKS, resets, *[(False, True)] * len(switches)):
        chosen = (name for name, switch in zip(switches, on, strict=True) if switch)
        yield case_of(cell, (*modifiers, *stack, *reset, *chosen))


def grid_modifiers(cell: str) -> list[tuple[str, ...]]:
    known = set(changes_of(cell))
    return list(dict.fromkeys(tuple(name for name in names if name in known) for names in NOISES))


def reset_of(case: Case) -> Tensor | None:
    """`[T, B]`."""
    if not case.reset:
        return None
    rows = [[(t, b) in RESETS for b in range(case.batch)] for t in range(case.steps)]
    return torch.tensor(rows, dtype=torch.bool)


def lengths_of(case: Case) -> Tensor | None:
    return torch.tensor(case.row_lengths) if case.lengths else None


def weight_shapes(case: Case, layer: int) -> dict[str, tuple[int, ...]]:
    """Of one layer and direction, by name."""
    H, P = case.hidden, case.projected
    rows = len(case.paper.gates) * H
    entering = case.inputs if layer == 0 else case.width * case.directions
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, entering), "weight_hh": (rows, case.width)}
    shapes |= {} if case.no_bias else {"bias_ih": (rows,), "bias_hh": (rows,)}
    shapes |= {"weight_hr": (P, H)} if case.projection else {}
    for name, (down, across) in case.paper.own.items():
        shapes[name] = (down * H, across * H) if across else (down * H,)
    return shapes


def leaves(case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> Named:
    """Every tensor that goes into a call, by name, the same numbers in any dtype."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).float()

    rows = case.layers * case.directions
    named: Named = {"x": draw(case.steps, case.batch, case.inputs)}
    if not case.no_state:
        named |= {f"{state}0": draw(rows, case.batch, case.width_of(state)) for state in case.paper.states}
    if case.start:
        named |= {f"start_{state}": draw(rows, case.width_of(state)) for state in case.paper.states}
    for layer, d in itertools.product(range(case.layers), range(case.directions)):
        for name, shape in weight_shapes(case, layer).items():
            scale = 0.05 if name in NEAR else 0.3
            named[f"{name}.{layer}.{d}"] = NEAR.get(name, 0.0) + draw(*shape, scale=scale)
    return {name: value.to(dtype).requires_grad_() for name, value in named.items()}


def weights_of(case: Case, named: Named) -> list[list[Named]]:
    def own(layer: int, d: int) -> Named:
        end = f".{layer}.{d}"
        return {name.removesuffix(end): value for name, value in named.items() if name.endswith(end)}

    return [[own(layer, d) for d in range(case.directions)] for layer in range(case.layers)]


def state_of(case: Case, named: Named) -> tuple[Tensor, ...] | None:
    return None if case.no_state else tuple(named[f"{state}0"] for state in case.paper.states)


def start_of(case: Case, named: Named) -> tuple[Tensor, ...] | None:
    return tuple(named[f"start_{state}"] for state in case.paper.states) if case.start else None
