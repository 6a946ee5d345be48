"""What must hold between calls of the same cell, whatever its equations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from contract.agreement import (
    APPLIED,
    backends_of,
    by_backend,
    call,
    cell_of,
    loss_of,
    prefixed,
    results_of,
    with_gradients,
)
from contract.cases import (
    LENGTHS,
    NOISE_SEED,
    RESETS,
    B,
    Case,
    H,
    T,
    covering,
    leaves,
    reset_of,
    start_of,
    state_of,
    weights_of,
)
from contract.over import on_backends, over, with_changes
from contract.papers import Named
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from holdfast.kernels import Result, recurrence

NOISE = "clip semeniuta gal zoneout"
CALM = "clip expected_zoneout"
EMPTY = LENGTHS.index(0)
RUBBISH = torch.tensor([float("nan"), float("inf"), 1e30])

in_one_direction = with_changes(
    "", "layers projection", f"layers reset start residual {CALM}", "no_state no_bias"
)
in_two_directions = with_changes(
    "bidirectional", "bidirectional projection no_state", f"bidirectional reset start {CALM}"
)
padded = with_changes(
    "lengths",
    "lengths no_state layers bidirectional",
    f"lengths layers bidirectional projection reset start residual {NOISE}",
    f"lengths layers bidirectional no_bias reset {CALM}",
)
noisy = with_changes(NOISE, f"layers bidirectional projection lengths reset start {NOISE}")


def in_chunks(cell: str) -> Iterator[tuple[str, Case, tuple[int, ...]]]:
    return ((*pair, sizes) for pair in on_backends(in_one_direction)(cell) for sizes in ((3, 1, 2), (1,) * T))


def same_sums(found: Tensor, expected: Tensor, name: str = "") -> None:
    """Equal but for the order of the same float64 sums."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14, msg=lambda text: f"{name}: {text}")


def all_same_sums(found: Named, expected: Named) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same_sums(found[name], value, name)


def all_equal(found: Named, expected: Named) -> None:
    """To the bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def recomputed(cell: str) -> Iterator[tuple[str, Case]]:
    """The slow loop runs all of a call again, the others may go wrong in more ways."""
    few = with_changes("", f"layers bidirectional start {NOISE}")(cell)
    yield from ((backend, case) for case in few for backend in backends_of(case, recompute=1))
    for case in covering(cell):
        yield from ((name, case) for name in backends_of(case, recompute=1) if name != "reference")


def given_names(case: Case) -> list[str]:
    return [f"{state}0" for state in case.paper.states]


def both_ways(case: Case, backend: str, trace: bool | str = False) -> tuple[Named, Result, Result]:
    """The same rows, those of length 0 left out, padded and packed; what went in, and the results, padded."""
    rows = [b for b in range(B) if b != EMPTY]
    some = {
        n: value.detach()[:, rows].requires_grad_() if n == "x" or n in given_names(case) else value
        for n, value in leaves(case).items()
    }
    lengths, reset = torch.tensor(LENGTHS)[rows], reset_of(case)

    def run(x: Tensor | PackedSequence, lengths: Tensor | None) -> Result:
        return recurrence(
            cell_of(case),
            x,
            weights_of(case, some),
            state_of(case, some),
            lengths,
            None if reset is None else reset[:, rows],
            seed=torch.tensor(NOISE_SEED),
            start=start_of(case, some),
            residual=case.residual,
            trace=trace,
            backend=backend,
        )

    packed = run(pack_padded_sequence(some["x"], lengths, enforce_sorted=False), None)
    output, _ = pad_packed_sequence(packed.output)  # type: ignore[arg-type]
    return some, run(some["x"], lengths), replace(packed, output=output)


class CellProperties:
    """The properties; `CellContract` adds the exact results."""

    cell: ClassVar[str]

    @over("backend, case, sizes", in_chunks)
    def test_chunked_equals_whole(self, backend: str, case: Case, sizes: tuple[int, ...]) -> None:
        named = leaves(case)
        whole = call(case, named, backend)
        state, outputs, reset = state_of(case, named), [], reset_of(case)
        resets = itertools.repeat(None) if reset is None else reset.split(sizes)
        for x, marks in zip(named["x"].split(sizes), resets, strict=False):
            part = recurrence(
                cell_of(case),
                x,
                weights_of(case, named),
                state,
                reset=marks,
                start=start_of(case, named),
                residual=case.residual,
                backend=backend,
            )
            outputs.append(part.output)
            state = part.state
        assert state is not None
        same_sums(torch.cat(outputs), whole.output)  # type: ignore[arg-type]
        for one, other in zip(state, whole.state, strict=True):
            same_sums(one, other)

    @over("backend, case", on_backends(padded))
    def test_padded_equals_packed(self, backend: str, case: Case) -> None:
        """With noise too, since a mask belongs to the caller's row."""
        some, padded, packed = both_ways(case, backend)
        expected = with_gradients(results_of(case, padded), some)
        all_same_sums(with_gradients(results_of(case, packed), some), expected)

    @over("case", padded)
    def test_the_traces_of_a_packed_sequence_are_those_of_the_padded_one(self, case: Case) -> None:
        found = []
        for result in both_ways(case, "reference", trace="gradients")[1:]:
            assert result.trace is not None
            assert result.taps is not None
            loss_of(results_of(case, result)).backward()
            gradients = {name: tap.grad for name, tap in result.taps.items()}
            found.append(result.trace | prefixed("grad", gradients))
        all_same_sums(*found)

    @over("backend, case", on_backends(in_two_directions))
    def test_the_second_direction_is_the_first_on_reversed_time(self, backend: str, case: Case) -> None:
        named = leaves(case)
        ((_, own),) = weights_of(case, named)
        state, start, reset = state_of(case, named), start_of(case, named), reset_of(case)
        whole = call(case, named, backend)
        # The reverse direction re-initialises after the step of a reset: before the next one, in its order.
        turned_reset = None if reset is None else reset.flip(0).roll(1, 0)
        if turned_reset is not None:
            turned_reset[0] = False
        turned = recurrence(
            cell_of(case),
            named["x"].flip(0),
            [[own]],
            None if state is None else tuple(part[1:] for part in state),
            reset=turned_reset,
            start=None if start is None else tuple(part[1:] for part in start),
            backend=backend,
        )
        same_sums(whole.output[..., case.width :], turned.output.flip(0))  # type: ignore[union-attr, index]
        rows = [b for b in range(B) if not case.reset or (0, b) not in RESETS]
        for one, other in zip(whole.state, turned.state, strict=True):
            same_sums(one[1:, rows], other[:, rows])

    @over("backend, case", on_backends(with_changes("lengths", f"reset start bidirectional {CALM}")))
    def test_renumbering_the_units_renumbers_the_results(self, backend: str, case: Case) -> None:
        named = leaves(case)
        order = torch.tensor([3, 0, 4, 1, 2])

        def renumbered(name: str, value: Tensor) -> Tensor:
            if name == "x":
                return value
            if not name.startswith(("weight", "bias", "gain")):
                return value[..., order]
            blocks = value.unflatten(0, (-1, H))[:, order].flatten(0, 1)
            if name.startswith(("weight_hh", "weight_gates")):
                return blocks.unflatten(1, (-1, H))[..., order].flatten(1)
            return blocks

        moved = by_backend(case, {name: renumbered(name, value) for name, value in named.items()}, backend)
        for name, value in by_backend(case, named, backend).items():
            same_sums(moved[name], value.unflatten(-1, (-1, H))[..., order].flatten(-2), name)

    @over("backend, case", on_backends(padded))
    def test_what_lies_in_padding_changes_nothing(self, backend: str, case: Case) -> None:
        """NaN, inf and 1e30, bit for bit."""
        named = leaves(case)
        spoilt = {**named, "x": named["x"].detach().clone()}
        spoilt["x"][~case.valid] = RUBBISH.double()
        spoilt["x"].requires_grad_()
        found = with_gradients(by_backend(case, spoilt, backend), spoilt)
        all_equal(found, with_gradients(by_backend(case, named, backend), named))
        assert not found["output"][~case.valid].any()
        assert not found["grad x"][~case.valid].any()

    @over("backend, case", on_backends(padded))
    def test_a_gradient_that_reaches_padding_is_dropped(self, backend: str, case: Case) -> None:
        named = leaves(case)
        results = by_backend(case, named, backend)
        upstream = torch.zeros_like(results["output"])
        upstream[~case.valid] = float("nan")
        inputs = list(named.values())
        gradients = torch.autograd.grad(results["output"], inputs, upstream, allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            assert gradient is None or not gradient.any(), name

    @over("backend, case", on_backends(padded))
    def test_a_row_of_length_0_keeps_its_state_to_the_bit(self, backend: str, case: Case) -> None:
        named = leaves(case, torch.float32)
        results = by_backend(case, named, backend)
        assert not results["output"][:, EMPTY].any()
        for state in case.paper.states:
            kept = results[f"{state}_n"]
            given = torch.zeros_like(kept) if case.no_state else named[f"{state}0"]
            assert torch.equal(kept[:, EMPTY], given[:, EMPTY]), state

    @over("case", with_changes("layers bidirectional", "layers bidirectional projection no_state"))
    def test_a_sequence_of_no_steps_leaves_the_state(self, case: Case) -> None:
        named = leaves(case)
        result = recurrence(
            cell_of(case), named["x"][:0], weights_of(case, named), state_of(case, named), trace=True
        )
        assert result.output.shape == (0, B, 2 * case.width)  # type: ignore[union-attr]
        for name, value in zip(case.paper.states, result.state, strict=True):
            assert torch.equal(value, torch.zeros_like(value) if case.no_state else named[f"{name}0"]), name
        assert result.trace is not None
        assert result.trace["h"].shape == (2, 2, 0, B, case.width)

    @over(
        "backend, case",
        on_backends(with_changes("bidirectional reset", f"bidirectional reset start lengths {CALM}")),
    )
    def test_a_reset_equals_cutting_the_sequence(self, backend: str, case: Case) -> None:
        named = leaves(case)
        whole = call(case, named, backend)
        for b, d in itertools.product(range(B), range(2)):
            output, state = in_pieces(case, named, backend, b, d)
            part = whole.output[: case.row_lengths[b], b, d * case.width :][:, : case.width]  # type: ignore[index]
            same_sums(part, output, f"row {b}, direction {d}")
            for one, other in zip(whole.state, state, strict=True):
                same_sums(one[d, b], other, f"state of row {b}, direction {d}")

    @over("case", noisy)
    def test_the_same_seed_gives_the_same_masks_and_another_one_others(self, case: Case) -> None:
        named = leaves(case)
        first, again = (results_of(case, call(case, named)) for _ in range(2))
        all_equal(again, first)
        for other in (NOISE_SEED + 1, NOISE_SEED ^ 1 << 40):
            assert not torch.equal(call(case, named, seed=other).output, first["output"])  # type: ignore[arg-type]

    @over(
        "case",
        with_changes(NOISE, f"{NOISE} projection lengths bidirectional", f"semeniuta gal {CALM} reset"),
    )
    def test_modifiers_commute_in_the_order_of_application(self, case: Case) -> None:
        named = leaves(case)
        expected = results_of(case, call(case, named))
        for order in (
            tuple(APPLIED),
            tuple(APPLIED)[::-1],
            ("gal", "zoneout", "expected_zoneout", "clip", "semeniuta"),
        ):
            all_equal(results_of(case, call(case, named, cell=cell_of(case, order))), expected)

    @over("backend, case", recomputed)
    def test_recomputation_changes_no_bit(self, backend: str, case: Case) -> None:
        """Every step, some that do not part T evenly, and fewer than there are."""
        named = leaves(case)
        expected = with_gradients(by_backend(case, named, backend), named)
        for recompute in (1, 4, T + 1, True):
            result = results_of(case, call(case, named, backend, recompute=recompute))
            all_equal(with_gradients(result, named), expected)

    @over("case", with_changes("", f"layers bidirectional lengths reset projection {NOISE}"))
    def test_backward_twice_gives_the_same_gradients(self, case: Case) -> None:
        named = leaves(case)
        loss = loss_of(by_backend(case, named, "auto"))
        inputs = list(named.values())
        first, again = (torch.autograd.grad(loss, inputs, retain_graph=True) for _ in range(2))
        for name, one, other in zip(named, first, again, strict=True):
            assert torch.equal(one, other), name

    @over("backend, case", on_backends(with_changes("lengths", f"projection reset start {NOISE}")))
    def test_the_gradient_of_one_input_alone_is_that_among_all(self, backend: str, case: Case) -> None:
        together = with_gradients(by_backend(case, named := leaves(case), backend), named)
        for name in named:
            alone = {n: value.detach().requires_grad_(n == name) for n, value in named.items()}
            loss = loss_of(by_backend(case, alone, backend))
            (gradient,) = torch.autograd.grad(loss, alone[name])
            same_sums(gradient, together[f"grad {name}"], name)

    @pytest.mark.parametrize("modifier", ["zoneout", "semeniuta"])
    def test_the_mean_over_the_masks_is_the_value_at_evaluation(self, modifier: str) -> None:
        """For one step: zoneout in the mean of h and c, Semeniuta's dropout in that of the linear c."""
        rows = 4000
        noisy, calm = (
            Case(self.cell, **{modifier: True}),
            Case(self.cell, expected_zoneout=modifier == "zoneout"),
        )
        named = {name: value.detach() for name, value in leaves(noisy).items()}
        one_row = {name: named[name][:1, :1].expand(-1, rows, -1) for name in ("x", *given_names(noisy))}
        named |= one_row
        drawn, expected = results_of(noisy, call(noisy, named)), results_of(calm, call(calm, named))
        for name in ("h_n", "c_n") if modifier == "zoneout" else ("c_n",):
            if name in drawn:
                # Five standard deviations of the mean.
                allowed = 5 * drawn[name].std(dim=1) / rows**0.5
                assert ((drawn[name].mean(dim=1) - expected[name][:, 0]).abs() <= allowed).all(), name


def in_pieces(case: Case, named: Named, backend: str, b: int, d: int) -> tuple[Tensor, list[Tensor]]:
    """One row in one direction as separate calls between its resets: its output in time order, its state."""
    length = case.row_lengths[b]
    cuts = sorted(t for t, row in RESETS if row == b and t < length)
    edges = sorted({0, length, *cuts})
    start = start_of(case, named) or tuple(
        torch.zeros(2, case.width_of(s)).double() for s in case.paper.states
    )
    start = tuple(part[d] for part in start)
    given = tuple(part[d, b] for part in state_of(case, named) or ())
    pieces = list(itertools.pairwise(edges))
    outputs, state = {}, given
    for first, last in pieces if d == 0 else pieces[::-1]:
        begins = first in cuts if d == 0 else last in cuts
        before = start if begins else state
        x = named["x"][first:last, b : b + 1]
        result = recurrence(
            cell_of(case),
            x if d == 0 else x.flip(0),
            [[weights_of(case, named)[0][d]]],
            tuple(part.expand(1, 1, -1) for part in before),
            backend=backend,
        )
        output = result.output[:, 0]  # type: ignore[index]
        outputs[first] = output if d == 0 else output.flip(0)
        state = tuple(part[0, 0] for part in result.state)
    if d == 1 and 0 in cuts:
        state = start
    whole = (
        torch.cat([outputs[first] for first, _ in pieces]) if pieces else torch.zeros(0, case.width).double()
    )
    return whole, list(state)
