"""What the keywords of the layer mean exactly, each checked through what its meaning implies."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.cells import CELLS
from holdfast.errors import InputError
from holdfast.kernels import recurrence
from holdfast.nn.lstm import LSTM

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of holdfast.notation
CLOSE: dict[str, float] = {"rtol": 1e-12, "atol": 1e-14}  # float64, the same sums in another order
CUTS = [[0], [3], [0, 1, 4], [5], [2, 3]]


def double_layer(*sizes: int, **options: Any) -> LSTM:
    made = LSTM(*(sizes or (I, H)), dtype=torch.float64, **options)
    with torch.no_grad():
        for part in made._learnt_state() or ():
            part.normal_()
    return made


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def like(layer: LSTM, **options: Any) -> LSTM:
    """Another layer with the same parameters."""
    other = double_layer(layer.input_size, layer.hidden_size, **options)
    other.load_state_dict(layer.state_dict())
    return other


def random_state(layer: LSTM, batch: int = B) -> tuple[Tensor, ...]:
    rows = layer.num_layers * layer.directions
    return tuple(draw(rows, batch, layer._state_width(name)) for name in layer.cell.states)


def resets_at(cuts: list[int], batch: int = 1) -> Tensor:
    reset = torch.zeros(T, batch, dtype=torch.bool)
    reset[cuts] = True
    return reset


def run_in_pieces(layer: LSTM, x: Tensor, cuts: list[int], state: tuple[Tensor, ...] | None) -> Any:
    """One layer over x `[T, 1, I]`, each sequence in a call of its own; `state` belongs to the outer ends."""
    bounds = [0, *(cut for cut in cuts if cut > 0), T]
    outputs, final = [], [None, None]
    # With reset[0] the sequence before step 0 is empty: the given state of the forward direction is lost, and
    # the reverse direction ends where that empty sequence begins.
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        entering = start_of(layer)
        if state is not None:
            first = number == 0 and 0 not in cuts
            last = number == len(bounds) - 2
            entering = tuple(
                torch.stack([given[d] if use else own[d] for d, use in enumerate([first, last][: len(own)])])
                for given, own in zip(state, entering, strict=True)
            )
        output, after = layer(x[start:end], entering)
        outputs.append(output)
        final[0] = after if number == len(bounds) - 2 else final[0]
        final[1] = after if number == 0 else final[1]
    if 0 in cuts:
        final[1] = start_of(layer)
    parts = zip(final[0], final[1], strict=True)
    return torch.cat(outputs), tuple(torch.stack([forward[0], *reverse[1:]]) for forward, reverse in parts)


def start_of(layer: LSTM) -> tuple[Tensor, ...]:
    learnt = layer._learnt_state()
    if learnt is not None:
        return tuple(part.unsqueeze(1) for part in learnt)
    return tuple(torch.zeros_like(part) for part in random_state(layer, 1))


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("cell", ["lstm", "layernorm", "rnn", "full_gate_recurrence"])
def test_forward_reinitialises_before_t_reverse_after_t_to_zeros_or_the_learnt_state_never_to_the_given_one(
    cell: str, cuts: list[int], bidirectional: bool, learnt: bool, given_state: bool
) -> None:
    layer = double_layer(cell=cell, bidirectional=bidirectional, learn_initial_state=learnt)
    x = draw(T, 1, I)
    state = random_state(layer, 1) if given_state else None
    output, final = layer(x, state, reset=resets_at(cuts))
    expected, expected_final = run_in_pieces(layer, x, cuts, state)
    torch.testing.assert_close(output, expected, **CLOSE)
    for part, whole in zip(final, expected_final, strict=True):
        torch.testing.assert_close(part, whole, **CLOSE)


def test_each_row_has_its_own_resets() -> None:
    layer = double_layer(num_layers=2, bidirectional=True, proj_size=2)
    x, lengths = draw(T, B, I), [6, 4, 0]
    reset = torch.rand(T, B) < 0.4
    output, state = layer(x, lengths=lengths, reset=reset)
    for b, length in enumerate(lengths[:2]):
        alone, own = layer(x[:length, b], reset=reset[:length, b])
        torch.testing.assert_close(output[:length, b], alone, **CLOSE)
        for part, own_part in zip(state, own, strict=True):
            torch.testing.assert_close(part[:, b], own_part, **CLOSE)


@pytest.mark.parametrize("kind", [list, torch.Tensor])
def test_reset_in_the_layout_of_the_caller(kind: Any) -> None:
    layer, x, reset = double_layer(num_layers=2, bidirectional=True), draw(T, B, I), torch.rand(T, B) < 0.4
    expected, _ = layer(x, reset=reset)
    turned = like(layer, num_layers=2, bidirectional=True, batch_first=True)
    given = reset.t().tolist() if kind is list else reset.t()
    torch.testing.assert_close(turned(x.transpose(0, 1), reset=given)[0].transpose(0, 1), expected, **CLOSE)
    alone = reset[:, 1].tolist() if kind is list else reset[:, 1]
    torch.testing.assert_close(layer(x[:, 1], reset=alone)[0], expected[:, 1], **CLOSE)


def test_the_learnt_state_starts_every_sequence_and_learns_from_it() -> None:
    layer = double_layer(num_layers=2, bidirectional=True, proj_size=2, learn_initial_state=True)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters() if name.startswith("initial")} == {
        "initial_h": (4, 2),
        "initial_c": (4, H),
    }
    x = draw(T, B, I)
    expected, _ = layer(x, tuple(part.unsqueeze(1).repeat(1, B, 1) for part in layer._learnt_state() or ()))
    output, _ = layer(x)
    torch.testing.assert_close(output, expected, **CLOSE)
    for reset, state, learns in (
        (None, None, True),
        (None, random_state(layer), False),
        (resets_at([2], B), random_state(layer), True),
    ):
        layer.zero_grad()
        layer(x, state, reset=reset)[0].sum().backward()
        assert (layer.initial_h.grad is not None and bool(layer.initial_h.grad.any())) == learns


def test_a_row_of_length_0_keeps_the_learnt_state() -> None:
    layer = double_layer(learn_initial_state=True)
    output, (h, c) = layer(draw(T, 2, I), lengths=[0, T])
    assert not output[:, 0].any()
    assert torch.equal(h[:, 0], layer.initial_h)
    assert torch.equal(c[:, 0], layer.initial_c)


@pytest.mark.parametrize("rates", [(0.3, 0.6), (0.3, 0.0), (0.0, 0.6), 0.25], ids=str)
@pytest.mark.parametrize("cell", ["lstm", "peephole", "layernorm", "no_output_gate"])
def test_zoneout_at_evaluation_is_the_expectation(cell: str, rates: Any) -> None:
    layer = double_layer(cell=cell, zoneout=rates).eval()
    of_h, of_c = rates if isinstance(rates, tuple) else (rates, rates)
    plain, x = like(layer, cell=cell), draw(T, B, I)
    output, _ = layer(x)
    h, c = draw(1, B, H) * 0, draw(1, B, H) * 0
    for t in range(T):
        _, (new_h, new_c) = plain.step(x[t], (h, c))
        h, c = of_h * h + (1 - of_h) * new_h, of_c * c + (1 - of_c) * new_c
        torch.testing.assert_close(output[t], h[0], **CLOSE)


@pytest.mark.parametrize("cell", ["lstm", "coupled", "peephole"])
def test_zoneout_in_training_keeps_old_values_of_h_and_c_and_h_is_computed_from_the_new_c(cell: str) -> None:
    layer = double_layer(cell=cell, zoneout=(0.4, 0.6), proj_size=3)
    plain, x = like(layer, cell=cell, proj_size=3), draw(T, 40, I)
    _, _, trace = layer(x, return_trace=True)
    state = tuple(torch.zeros_like(trace[name][0, 0, :1]) for name in "hc")
    for t in range(T):
        _, new = plain.step(x[t], state)
        after = tuple(trace[name][0, 0, t : t + 1] for name in "hc")
        for old, fresh, found, rate in zip(state, new, after, (0.4, 0.6), strict=True):
            kept = found == old
            torch.testing.assert_close(torch.where(kept, fresh, found), fresh, **CLOSE)
            # At least 120 draws: five standard deviations of their mean.
            assert abs(float(kept.double().mean()) - rate) < 5 * (0.25 / kept.numel()) ** 0.5
        state = after


def test_a_number_is_semeniutas_dropout_of_g_drawn_afresh_at_each_step() -> None:
    layer = double_layer(1, 50, recurrent_dropout=0.3)
    _, _, trace = layer(draw(T, 20, 1), return_trace=True)
    i, f, g, c = (trace[name][0, 0] for name in "ifgc")
    before = torch.cat([torch.zeros_like(c[:1]), c[:-1]])
    added = c - f * before
    dropped = added.abs() < 1e-15
    torch.testing.assert_close(added[~dropped], (i * g / 0.7)[~dropped], rtol=1e-9, atol=1e-12)
    assert abs(float(dropped.double().mean()) - 0.3) < 5 * (0.21 / dropped.numel()) ** 0.5
    for one, other in itertools.combinations(dropped, 2):
        assert not torch.equal(one, other)


def masks_that_explain(
    layer: LSTM, x: Tensor, output: Tensor, state: tuple[Tensor, ...], p: float
) -> list[int]:
    """Which of the 2^H masks of the h that enters gives that output."""
    found = []
    for number, mask in enumerate(itertools.product([0.0, 1.0], repeat=layer.hidden_size)):
        plain = like(layer, cell=layer.cell)
        with torch.no_grad():
            plain.weight_hh_l0.mul_(torch.tensor(mask, dtype=torch.float64) / (1 - p))
        if torch.allclose(plain(x, state)[0], output, rtol=1e-10, atol=1e-12):
            found.append(number)
    return found


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_h_is_gals_dropout_one_mask_per_sequence_for_all_gates(cell: str) -> None:
    layer = double_layer(2, 4, cell=cell, recurrent_dropout={"h": 0.5})
    x, state, masks = draw(T, 8, 2), random_state(layer, 8), []
    output, _ = layer(x, state, reset=resets_at([4], 8))
    for b in range(8):
        own = tuple(part[:, b : b + 1] for part in state)
        first = masks_that_explain(layer, x[:4, b : b + 1], output[:4, b : b + 1], own, 0.5)
        nothing = tuple(torch.zeros_like(part) for part in own)
        second = masks_that_explain(layer, x[4:, b : b + 1], output[4:, b : b + 1], nothing, 0.5)
        assert len(first) == len(second) == 1
        masks.append((first[0], second[0]))
    assert len(set(masks)) > 4
    assert any(first != second for first, second in masks)


def test_dropout_and_zoneout_keep_evaluation_free_of_chance() -> None:
    layer = double_layer(2, 4, recurrent_dropout={"g": 0.5, "h": 0.5}).eval()
    plain, x, before = like(layer), draw(T, B, 2), torch.get_rng_state()
    assert torch.equal(layer(x)[0], plain(x)[0])
    assert torch.equal(torch.get_rng_state(), before)


MODIFIED: list[dict[str, Any]] = [
    {"zoneout": 0.5},
    {"recurrent_dropout": 0.5},
    {"recurrent_dropout": {"h": 0.5}},
    {"zoneout": (0.2, 0.3), "recurrent_dropout": {"g": 0.2, "h": 0.3}, "cell_clip": 0.5},
]


@pytest.mark.parametrize("options", MODIFIED, ids=str)
def test_masks_come_from_one_seed_per_call_drawn_with_randint(options: dict[str, Any]) -> None:
    layer, x = double_layer(num_layers=2, bidirectional=True, **options), draw(T, B, I)
    torch.manual_seed(7)
    first, other = layer(x)[0], layer(x)[0]
    after = torch.get_rng_state()
    torch.manual_seed(7)
    again = layer(x)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(7)
    for output in (first, other):
        seed = torch.randint(0, 2**63 - 1, ())
        expected = recurrence(layer._training_cell, x, layer.weights(), seed=seed).output
        assert torch.equal(output, expected)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("options", MODIFIED, ids=str)
def test_the_seed_is_drawn_from_a_given_generator(options: dict[str, Any]) -> None:
    layer, x, before = double_layer(**options), draw(T, B, I), torch.get_rng_state()
    one, other = (layer(x, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 2))
    again = layer(x, generator=torch.Generator().manual_seed(1))[0]
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_generator_is_refused() -> None:
    with pytest.raises(InputError, match=r"generator must be a torch.Generator or None, got 3"):
        LSTM(I, H, zoneout=0.5)(torch.zeros(T, B, I), generator=3)


def test_keywords_that_are_assigned_later_count_from_then_on() -> None:
    layer, x = double_layer(), draw(T, B, I)
    plain = layer(x)[0]
    layer.cell_clip = 0.05
    clipped, (_, c) = layer(x)
    assert c.abs().max() <= 0.05
    assert not torch.equal(clipped, plain)
    layer.zoneout, layer.recurrent_dropout = 0.5, 0.5
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.zoneout, layer.recurrent_dropout, layer.cell_clip = 0.0, 0.0, None
    torch.testing.assert_close(layer(x)[0], plain, **CLOSE)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if "c" in cell.states])
def test_c_is_clipped_for_all_later_uses(cell: str, training: bool) -> None:
    layer = double_layer(num_layers=2, bidirectional=True, cell=cell, cell_clip=0.1).train(training)
    _, (_, c, *_), trace = layer(10 * draw(T, B, I), return_trace=True)
    for value in (c, trace["c"]):
        assert value.abs().max() == 0.1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_residual_layers_after_the_first_add_their_undropped_input(
    bidirectional: bool, training: bool
) -> None:
    # Dropout of everything between the layers: what a layer reads is known without its generator.
    layer = double_layer(num_layers=3, bidirectional=bidirectional, residual=True, dropout=1.0).train(
        training
    )
    x = draw(T, B, I)
    output, _ = layer(x)
    expected, width = x, layer.directions * H
    for k in range(3):
        single = double_layer(I if k == 0 else width, H, bidirectional=bidirectional)
        ends = ("", "_reverse")[: layer.directions]
        names = [name + end for end in ends for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        with torch.no_grad():
            for name in (part.replace("_reverse", "") for part in names):
                for end in ends:
                    getattr(single, f"{name}_l0{end}").copy_(getattr(layer, f"{name}_l{k}{end}"))
        own, _ = single(expected * 0 if training and k > 0 else expected)
        expected = own if k == 0 else own + expected
    torch.testing.assert_close(output, expected, **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_autocast_returns_what_torch_returns_for_every_output_of_every_cell(cell: str) -> None:
    layer = LSTM(I, H, 2, bidirectional=True, cell=cell, zoneout=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        output, state = layer(torch.randn(T, B, I), lengths=[6, 0, 2])
    assert {value.dtype for value in (output, *state)} == {torch.bfloat16}
