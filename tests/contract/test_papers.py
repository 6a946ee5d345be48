"""The loop by hand itself, against PyTorch's own layers and published numbers."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract.cases import GAL, LENGTHS, NOISE_SEED, Case, H, T, case_of, covering, leaves, sample
from contract.loop import gradient_trace_of, run
from contract.papers import PAPERS, Named
from contract.philox_by_hand import STATE_DROPOUT, mask, philox
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

KNOWN = {
    # Random123's known-answer vectors of philox4x32 with 10 rounds: counter and key, then the words.
    "00000000 00000000 00000000 00000000 00000000 00000000": "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff": "408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0": "d16cfe09 94fdcceb 5001e420 24126ea1",
}


@pytest.mark.parametrize(("given", "words"), KNOWN.items())
def test_philox_gives_the_published_words(given: str, words: str) -> None:
    a, b, c, d, low, high = (int(word, 16) for word in given.split())
    assert " ".join(f"{word:08x}" for word in philox((a, b, c, d), (low, high))) == words


def test_a_mask_is_true_about_as_often_as_its_probability() -> None:
    drawn = mask(20000, GAL, NOISE_SEED, 0, 0, 0, 0, STATE_DROPOUT).double().mean()
    # Five standard deviations of a mean of 20000.
    assert abs(float(drawn) - GAL) < 5 * (GAL * (1 - GAL) / 20000) ** 0.5


OPTIONS = [
    chosen
    for size in range(4)
    for chosen in itertools.combinations(
        ("layers", "bidirectional", "projection", "no_bias", "lengths"), size
    )
]


def by_torch(case: Case, named: Named) -> Named:
    kind = nn.LSTM if case.cell == "lstm" else nn.RNN
    options = {"proj_size": case.width} if case.projection else {}
    layer = kind(
        3,
        H,
        case.layers,
        bias=not case.no_bias,
        bidirectional=case.bidirectional,
        **options,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for name, value in named.items():
            if name[:2] in ("we", "bi"):
                parameter, number, d = name.split(".")
                getattr(layer, f"{parameter}_l{number}{'_reverse' * int(d)}").copy_(value)
    state = (named["h0"], named["c0"]) if case.cell == "lstm" else named["h0"]
    if not case.lengths:
        output, state = layer(named["x"], state)
    else:
        packed = pack_padded_sequence(named["x"], torch.tensor(LENGTHS).clamp(min=1), enforce_sorted=False)
        output, state = layer(packed, state)
        output, _ = pad_packed_sequence(output, total_length=T)
    names = ("h_n", "c_n") if case.cell == "lstm" else ("h_n",)
    return {"output": output, **dict(zip(names, state if case.cell == "lstm" else (state,), strict=True))}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("cell", "options"),
    # PyTorch's RNN has no projection.
    [
        pair
        for pair in itertools.product(("lstm", "rnn"), OPTIONS)
        if pair[0] == "lstm" or "projection" not in pair[1]
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_loop_gives_what_pytorch_gives(cell: str, options: tuple[str, ...]) -> None:
    case = case_of(cell, options)
    named = leaves(case)
    found, expected = run(case, named).results, by_torch(case, named)
    rows = [b for b, length in enumerate(case.row_lengths) if length > 0]
    for name, value in expected.items():
        torch.testing.assert_close(found[name][:, rows], value[:, rows], rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize("cell", sorted(PAPERS))
def test_the_gradient_trace_by_hand_is_the_slope_of_the_loss(cell: str) -> None:
    """Those of the pre-activations add up to that of the bias, over all steps and rows."""
    case = Case(cell, lengths=True)
    named = leaves(case)
    done = run(case, named)
    loss = sum(value.sum() for value in done.results.values())
    trace = gradient_trace_of(case, done, loss)
    (bias,) = torch.autograd.grad(loss, named["bias_ih.0.0"])
    summed = torch.cat([trace[gate].sum((0, 1, 2, 3)) for gate in case.paper.gates])
    torch.testing.assert_close(summed, bias, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", sorted(PAPERS))
def test_the_sample_covers_each_change_and_all_pairs(cell: str) -> None:
    changed = [str(case).split("-") for case in sample(cell)]
    names = {name for case in changed for name in case} - {"plain"}
    apart = [{"zoneout", "expected_zoneout"}]
    for one, other in itertools.combinations(sorted(names), 2):
        assert {one, other} in apart or any({one, other} <= set(case) for case in changed)
    assert len(covering(cell)) < 15
