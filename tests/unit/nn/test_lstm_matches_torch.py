"""holdfast.LSTM against torch.nn.LSTM: numbers, gradients, masks, parameters, errors.

With the torch backend both make the same calls, equal to the bit; the others sum in another order.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from holdfast.kernels import backends
from holdfast.nn.lstm import LSTM
from holdfast.notation import State

T, B, I, H, P = 6, 3, 4, 5, 2  # noqa: E741 - the letters of holdfast.notation

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def grid() -> Iterator[dict[str, Any]]:
    for layers, bidirectional, proj, bias, batch_first in itertools.product(
        (1, 2, 3), (False, True), (0, P), (True, False), (False, True)
    ):
        yield {
            "num_layers": layers,
            "bidirectional": bidirectional,
            "proj_size": proj,
            "bias": bias,
            "batch_first": batch_first,
        }


def label(options: dict[str, Any]) -> str:
    return "-".join(f"{name}{int(value)}" for name, value in options.items())


GRID = list(grid())
BACKENDS = [status.name for status in backends() if status.available]


def both(backend: str = "torch", **options: Any) -> tuple[nn.LSTM, LSTM]:
    if backend == "native" and options.get("proj_size"):
        pytest.skip("the core does not project h")
    torch.manual_seed(3)
    theirs = nn.LSTM(I, H, **options)
    torch.manual_seed(3)
    return theirs, LSTM(I, H, **options, backend=backend)


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def random_state(layer: LSTM, batch: int | None = B) -> tuple[Tensor, Tensor]:
    rows = layer.num_layers * layer.directions
    middle = () if batch is None else (batch,)
    return draw(rows, *middle, layer.width), draw(rows, *middle, layer.hidden_size)


def results(layer: nn.Module, x: Any, state: Any, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Output and state of a call, and the gradients of a sum over all of it; the masks of seed 5."""
    torch.manual_seed(5)
    output, (h, c) = layer(x, state)
    output = output.data if isinstance(output, PackedSequence) else output
    loss = sum((value * value.detach().cos()).sum() for value in (output, h, c))
    names = [f"input{k}" for k in range(len(inputs))] + [name for name, _ in layer.named_parameters()]
    gradients = torch.autograd.grad(loss, [*inputs, *layer.parameters()])  # type: ignore[arg-type]
    return {"output": output, "h": h, "c": c, **dict(zip(names, gradients, strict=True))}


def check_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], *, to_the_bit: bool) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if to_the_bit:
            assert torch.equal(ours[name], value), name
        else:
            # float64, and gradients are sums of T * B terms.
            torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("options", GRID, ids=label)
def test_results_and_gradients(options: dict[str, Any], given_state: bool, backend: str) -> None:
    theirs, ours = both(backend, **options, dtype=torch.float64)
    x = draw(B, T, I) if options["batch_first"] else draw(T, B, I)
    state = random_state(ours) if given_state else None
    inputs = [x, *(state or ())]
    expected = results(theirs, x, state, inputs)
    check_same(results(ours, x, state, inputs), expected, to_the_bit=backend == "torch")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", GRID[::5], ids=label)
def test_other_dtypes_to_the_bit(options: dict[str, Any], dtype: torch.dtype) -> None:
    theirs, ours = both(**options, dtype=dtype)
    x = draw(B, T, I, dtype=dtype) if options["batch_first"] else draw(T, B, I, dtype=dtype)
    check_same(results(ours, x, None, [x]), results(theirs, x, None, [x]), to_the_bit=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("options", GRID[::2], ids=label)
def test_one_sequence_without_a_batch_axis(options: dict[str, Any], given_state: bool, backend: str) -> None:
    theirs, ours = both(backend, **options, dtype=torch.float64)
    x = draw(T, I)
    state = random_state(ours, batch=None) if given_state else None
    inputs = [x, *(state or ())]
    check_same(
        results(ours, x, state, inputs), results(theirs, x, state, inputs), to_the_bit=backend == "torch"
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("lengths", [[6, 4, 1], [2, 6, 5]], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("options", GRID[::2], ids=label)
def test_packed_sequences(
    options: dict[str, Any], lengths: list[int], given_state: bool, backend: str
) -> None:
    theirs, ours = both(backend, **options, dtype=torch.float64)
    x = draw(T, B, I)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=lengths == sorted(lengths)[::-1])
    state = random_state(ours) if given_state else None
    inputs = [packed.data, *(state or ())]
    check_same(
        results(ours, packed, state, inputs),
        results(theirs, packed, state, inputs),
        to_the_bit=backend == "torch",
    )
    output, _ = ours(packed, state)
    assert isinstance(output, PackedSequence)
    for kept in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert getattr(output, kept) is getattr(packed, kept), kept


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
def test_the_same_seed_draws_the_same_dropout(
    backend: str, packed: bool, batch_first: bool, bidirectional: bool, dropout: float
) -> None:
    options = {
        "num_layers": 3,
        "batch_first": batch_first,
        "bidirectional": bidirectional,
        "dropout": dropout,
    }
    theirs, ours = both(backend, **options, dtype=torch.float64)
    x = draw(B, T, I) if batch_first else draw(T, B, I)
    entering: Any = x
    if packed:
        entering = pack_padded_sequence(x, torch.tensor([2, 6, 5]), batch_first, enforce_sorted=False)
        x = entering.data
    expected = results(theirs, entering, None, [x])
    check_same(results(ours, entering, None, [x]), expected, to_the_bit=backend == "torch")
    evaluated = results(ours.eval(), entering, None, [x])
    assert not torch.equal(evaluated["output"], expected["output"])
    check_same(evaluated, results(theirs.eval(), entering, None, [x]), to_the_bit=backend == "torch")


MODES = {"grad": contextlib.nullcontext, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["dense", "packed", "lengths"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_mode_drops_whether_or_not_gradients_are_wanted(mode: str, kind: str, backend: str) -> None:
    theirs, ours = both(backend, num_layers=2, dropout=0.5, dtype=torch.float64)
    x, lengths = draw(T, B, I), torch.tensor([2, 6, 5])
    entering: Any = pack_padded_sequence(x, lengths, enforce_sorted=False) if kind == "packed" else x
    given = {"lengths": lengths} if kind == "lengths" else {}

    def run(layer: nn.Module, name: str) -> list[Tensor]:
        torch.manual_seed(1)
        with MODES[name]():
            output, state = layer(entering, **(given if layer is ours else {}))
        return [output.data, *state]

    found = run(ours, mode)
    # PyTorch's layer takes no lengths: there the call with gradients is the one to equal.
    expected = run(ours, "grad") if kind == "lengths" else run(theirs, mode)
    for one, other in zip(found, expected, strict=True):
        if backend == "torch":
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    assert not torch.equal(found[0], run(ours.eval(), mode)[0])


def test_dropout_with_lengths_drops_between_layers() -> None:
    torch.manual_seed(0)
    layer = LSTM(I, H, 2, dropout=0.5)
    x, lengths = torch.randn(T, B, I), torch.tensor([6, 3, 5])
    torch.manual_seed(1)
    first, _ = layer(x, lengths=lengths)
    torch.manual_seed(1)
    again, _ = layer(x, lengths=lengths)
    other, _ = layer(x, lengths=lengths)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, layer.eval()(x, lengths=lengths)[0])


@pytest.mark.parametrize("options", GRID, ids=label)
def test_parameters_state_dict_and_first_values(options: dict[str, Any]) -> None:
    theirs, ours = both(**options)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    for (name, mine), yours in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, yours), name
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(B, T, I) if options["batch_first"] else torch.randn(T, B, I)
    assert torch.equal(ours(x)[0], theirs(x)[0])
    back = nn.LSTM(I, H, **options)
    back.load_state_dict(ours.state_dict())
    assert torch.equal(back(x)[0], theirs(x)[0])
    for mine, yours in zip(ours._flat_weights, theirs._flat_weights, strict=True):
        assert torch.equal(mine, yours)
    for mine, yours in zip(ours.all_weights, theirs.all_weights, strict=True):
        for one, other in zip(mine, yours, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "dropout": 0.25, "bidirectional": True},
        {"proj_size": 2, "bias": False, "batch_first": True},
    ],
)
def test_it_describes_itself_as_torch_does(options: dict[str, Any]) -> None:
    theirs, ours = both("auto", **options)
    assert repr(ours) == repr(theirs)


def test_the_mode_is_torchs() -> None:
    assert LSTM(I, H).mode == nn.LSTM(I, H).mode
    assert LSTM(I, H, cell="rnn").mode == nn.RNN(I, H).mode
    assert LSTM(I, H, cell="peephole").mode == "PEEPHOLE"


def test_evaluation_mode_differentiates_too() -> None:
    theirs, ours = both()
    x = draw(T, B, I, dtype=torch.float32)
    expected = results(theirs.eval(), x, None, [x])
    check_same(results(ours.eval(), x, None, [x]), expected, to_the_bit=True)


def test_without_gradients() -> None:
    theirs, ours = both(num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I)
    with torch.no_grad():
        assert torch.equal(ours(x)[0], theirs(x)[0])
    with torch.inference_mode():
        assert torch.equal(ours(x)[0], theirs(x)[0])


def test_an_empty_batch() -> None:
    theirs, ours = both(bidirectional=True)
    x = torch.randn(T, 0, I)
    for mine, yours in zip((ours(x)[0], *ours(x)[1]), (theirs(x)[0], *theirs(x)[1]), strict=True):
        assert mine.shape == yours.shape


def test_the_state_is_a_named_tuple() -> None:
    _, ours = both()
    for x in (torch.randn(T, B, I), torch.randn(T, I), pack_sequence([torch.randn(T, I)])):
        _, state = ours(x)
        assert isinstance(state, State)
        again, _ = ours(x, state)
        assert again is not None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("cell", ["lstm", "peephole", "rnn"])
def test_copies(duplicate: Callable[[LSTM], LSTM], cell: str) -> None:
    layer = LSTM(I, H, 2, cell=cell)
    x = torch.randn(T, B, I)
    expected, _ = layer(x)
    assert torch.equal(duplicate(layer)(x)[0], expected)


def test_torch_save_of_a_whole_layer() -> None:
    layer = LSTM(I, H)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    x = torch.randn(T, B, I)
    assert torch.equal(torch.load(buffer, weights_only=False)(x)[0], layer(x)[0])


def test_functional_call_uses_the_given_parameters() -> None:
    theirs, ours = both()
    x = torch.randn(T, B, I)
    doubled = {name: 2 * value for name, value in theirs.named_parameters()}
    expected, _ = torch.func.functional_call(theirs, doubled, (x,))
    assert torch.equal(torch.func.functional_call(ours, doubled, (x,))[0], expected)


def test_moving_changes_every_parameter() -> None:
    layer = LSTM(I, H, 2, cell="peephole").double()
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}
    assert layer(draw(T, B, I))[0].dtype == torch.float64
    assert LSTM(I, H, device="meta").weight_ih_l0.device.type == "meta"


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 6]])
def test_autocast_returns_what_torch_returns(backend: str, lengths: list[int] | None) -> None:
    theirs, ours = both(backend, num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I)
    with torch.autocast("cpu", torch.bfloat16):
        (mine, my_state), (yours, your_state) = ours(x, lengths=lengths), theirs(x)
    for one, other in zip((mine, *my_state), (yours, *your_state), strict=True):
        assert one.dtype == other.dtype == torch.bfloat16
        if lengths is None:
            # A bfloat16 has 8 bits: two layers of values below 1 that round differently in each step.
            tolerance = 0.0 if backend == "torch" else 0.02
            torch.testing.assert_close(one, other, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize(
    "neutral",
    [
        {"zoneout": 0.0},
        {"zoneout": (0.0, 0.0), "recurrent_dropout": {"g": 0.0, "h": 0.0}},
        {"recurrent_dropout": 0.0, "weight_drop": 0.0, "cell_clip": None},
        {"residual": True, "num_layers": 1},
        {"init": "torch", "forget_bias": None, "learn_initial_state": False},
        {"cell_clip": 1e9, "backend": "reference"},
        {"learn_initial_state": True, "backend": "reference"},
    ],
    ids=str,
)
def test_keywords_that_ask_for_nothing_change_nothing(neutral: dict[str, Any]) -> None:
    theirs, _ = both(bidirectional=True, dtype=torch.float64)
    torch.manual_seed(3)
    ours = LSTM(I, H, bidirectional=True, dtype=torch.float64, **{"backend": "torch", **neutral})
    x, before = draw(T, B, I), torch.get_rng_state()
    (output, state), (expected, expected_state) = ours(x), theirs(x)
    for one, other in zip((output, *state), (expected, *expected_state), strict=True):
        if "backend" in neutral:
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        else:
            assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_warns_as_torch_does_of_dropout_on_one_layer() -> None:
    with pytest.warns(UserWarning, match="dropout") as theirs:
        nn.LSTM(I, H, dropout=0.5)
    with pytest.warns(UserWarning, match="dropout") as ours:
        LSTM(I, H, dropout=0.5)
    assert str(ours[0].message) == str(theirs[0].message)
    assert ours[0].filename == __file__


def test_arguments_of_a_call_have_the_names_of_torch() -> None:
    ours, theirs = LSTM(3, 4, backend="torch"), nn.LSTM(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x, hx = torch.randn(5, 2, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
    torch.testing.assert_close(ours(input=x, hx=hx)[0], theirs(input=x, hx=hx)[0], rtol=0, atol=0)
