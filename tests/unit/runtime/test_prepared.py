"""Prepared stacks compute what the layer evaluates, by frames and whole, and refuse what does not fit."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tolerance import allowed_difference, largest_difference
from torch import Tensor

import holdfast
from holdfast.cells import modifiers
from holdfast.cells.core import PRINTED
from holdfast.cells.lstm import LSTM as LSTM_CELL
from holdfast.errors import BackendError, ConfigError, InputError
from holdfast.runtime import Prepared, prepare, prepare_arrays, release_memory
from holdfast.runtime.core import compiled_core

built = importlib.util.find_spec("holdfast._core") is not None
needs_core = pytest.mark.skipif(not built, reason="the compiled core is not built")

CELLS = [printed.cell for printed in PRINTED if not printed.full]
STEPS, INPUTS, HIDDEN = 6, 5, 19


def layer_of(**options: Any) -> holdfast.LSTM:
    layer = holdfast.LSTM(INPUTS, HIDDEN, **options)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return layer.eval()


def keywords_of(cell: Any) -> dict[str, Any]:
    """Every modifier of evaluation that the cell takes."""
    found: dict[str, Any] = {"zoneout": (0.3, 0.2) if "c" in cell.states else (0.3, 0.0)}
    return found | ({"cell_clip": 0.5} if "c" in cell.values else {})


def evaluated(layer: holdfast.LSTM, x: Tensor, *, doubles: bool, **call: Any) -> list[Tensor]:
    """What the reference gives in the type of the layer, or the same numbers in float64."""
    own = holdfast.LSTM(
        INPUTS, HIDDEN, **{**layer._differences(), "backend": "reference"}, dtype=layer.weight_ih_l0.dtype
    )
    own.load_state_dict(layer.state_dict())
    if doubles:
        own, x = own.double(), x.double()
        if call.get("hx") is not None:
            call["hx"] = tuple(part.double() for part in call["hx"])
    with torch.no_grad():
        output, state = own.eval()(x, **call)
    return [output, *state]


def check_against_layer(layer: holdfast.LSTM, batch: int, **call: Any) -> None:
    dtype = layer.weight_ih_l0.dtype
    x = torch.randn(STEPS, batch, INPUTS, dtype=dtype)
    places = layer.num_layers * layer.directions
    hx = tuple(torch.randn(places, batch, HIDDEN, dtype=dtype) for _ in layer.cell.states)
    exact = evaluated(layer, x, doubles=True, hx=hx, **call)
    reference = evaluated(layer, x, doubles=False, hx=hx, **call)
    output, state = prepare(layer).run(x.numpy(), [part.numpy() for part in hx], **call)
    for name, found, own, wanted in zip(
        ("output", *layer.cell.states), (output, *state), reference, exact, strict=True
    ):
        allowed = allowed_difference(largest_difference(own, wanted), dtype)
        assert largest_difference(torch.from_numpy(found), wanted) <= allowed, name


@needs_core
@pytest.mark.parametrize("modified", [False, True], ids=["plain", "modified"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_it_computes_what_the_layer_evaluates(cell: Any, dtype: torch.dtype, modified: bool) -> None:
    keywords = keywords_of(cell) if modified else {}
    layer = layer_of(cell=cell, num_layers=2, bidirectional=True, dtype=dtype, **keywords)
    check_against_layer(layer, 4, lengths=[STEPS, 3, 0, 1])


@needs_core
@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"num_layers": 3, "residual": True},
        {"num_layers": 3, "residual": True, "bidirectional": True},
        {"dropout": 0.4, "num_layers": 2, "weight_drop": 0.3, "recurrent_dropout": {"g": 0.2, "h": 0.3}},
    ],
    ids=" ".join,
)
def test_layers_of_every_kind(options: dict[str, Any]) -> None:
    check_against_layer(layer_of(**options), 3)


def frames_of(prepared: Prepared, x: np.ndarray, state: Any) -> np.ndarray:
    return np.stack([prepared.step(frame, state) for frame in x])


@needs_core
@pytest.mark.parametrize("batch", range(8))
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 4, "residual": True, "zoneout": 0.2}], ids=["one", "four"]
)
def test_step_by_step_equals_the_whole_to_the_bit(batch: int, options: dict[str, Any]) -> None:
    prepared = prepare(layer_of(**options))
    x = np.random.default_rng(batch).standard_normal((STEPS, batch, INPUTS), np.float32)
    state = prepared.initial_state(batch)
    output, final = prepared.run(x)
    np.testing.assert_array_equal(frames_of(prepared, x, state), output)
    for own, whole in zip(state, final, strict=True):
        np.testing.assert_array_equal(own, whole)


@needs_core
def test_one_sequence_without_a_batch_axis() -> None:
    prepared = prepare(layer_of(num_layers=2))
    x = np.random.default_rng(0).standard_normal((STEPS, INPUTS), np.float32)
    output, final = prepared.run(x)
    batched, batched_final = prepared.run(x[:, None])
    np.testing.assert_array_equal(output, batched[:, 0])
    np.testing.assert_array_equal(final.h, batched_final.h[:, 0])
    state = prepared.initial_state()
    np.testing.assert_array_equal(frames_of(prepared, x, state), output)
    assert state.c.shape == final.c.shape == (2, HIDDEN)
    np.testing.assert_array_equal(state.c, final.c)


@needs_core
def test_the_parts_of_a_sequence_equal_the_whole() -> None:
    prepared = prepare(layer_of(num_layers=2))
    x = np.random.default_rng(1).standard_normal((STEPS, 3, INPUTS), np.float32)
    whole, final = prepared.run(x)
    first, between = prepared.run(x[:2])
    kept = [part.copy() for part in between]
    second, last = prepared.run(x[2:], between)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(last.c, final.c)
    for part, before in zip(between, kept, strict=True):
        np.testing.assert_array_equal(part, before)


@needs_core
def test_padding_is_never_read_and_rows_without_steps_keep_their_state() -> None:
    prepared = prepare(layer_of(bidirectional=True))
    x = np.random.default_rng(2).standard_normal((STEPS, 3, INPUTS), np.float32)
    start = [np.full((2, 3, HIDDEN), 0.25, np.float32) for _ in range(2)]
    lengths = [4, 0, 2]
    output, state = prepared.run(x, start, lengths)
    for row, length in enumerate(lengths):
        x[length:, row] = np.nan
        assert not output[length:, row].any()
    again, _ = prepared.run(x, start, np.array(lengths, np.int32))
    np.testing.assert_array_equal(again, output)
    assert (state.h[:, 1] == 0.25).all()


@needs_core
def test_out_is_filled_and_x_may_be_a_view() -> None:
    prepared = prepare(layer_of())
    x = np.random.default_rng(3).standard_normal((4, STEPS, INPUTS), np.float32)
    expected, _ = prepared.run(np.ascontiguousarray(x.swapaxes(0, 1)))
    out = np.empty((STEPS, 4, HIDDEN), np.float32)
    output, _ = prepared.run(x.swapaxes(0, 1), out=out)
    assert output is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(prepared.run(np.asfortranarray(x.swapaxes(0, 1)))[0], expected)
    backwards, _ = prepared.run(x.swapaxes(0, 1)[::-1])
    np.testing.assert_array_equal(backwards, prepared.run(x.swapaxes(0, 1)[::-1].copy())[0])
    row = np.empty(HIDDEN, np.float32)
    assert prepared.step(x[0, 0], prepared.initial_state(), row) is row
    np.testing.assert_array_equal(row, expected[0, 0])
    single = np.empty((STEPS, HIDDEN), np.float32)
    assert prepared.run(x[0], out=single)[0] is single
    np.testing.assert_array_equal(single, expected[:, 0])


@needs_core
def test_no_steps_and_no_rows() -> None:
    prepared = prepare(layer_of(num_layers=2))
    state = [np.full((2, 3, HIDDEN), value, np.float32) for value in (0.5, -0.5)]
    output, final = prepared.run(np.empty((0, 3, INPUTS), np.float32), state)
    assert output.shape == (0, 3, HIDDEN)
    np.testing.assert_array_equal(final.c, state[1])
    assert prepared.run(np.empty((4, 0, INPUTS), np.float32))[0].shape == (4, 0, HIDDEN)


@needs_core
def test_a_learnt_initial_state_is_what_sequences_start_from() -> None:
    layer = layer_of(learn_initial_state=True, num_layers=2)
    prepared = prepare(layer)
    x = torch.randn(STEPS, 3, INPUTS)
    with torch.no_grad():
        expected, _ = layer(x)
    output, _ = prepared.run(x.numpy())
    np.testing.assert_allclose(output, expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(frames_of(prepared, x.numpy(), prepared.initial_state(3)), output)
    np.testing.assert_array_equal(prepared.initial_state().h, layer.initial_h.detach().numpy())


@needs_core
def test_a_single_cell() -> None:
    cell = holdfast.LSTMCell(INPUTS, HIDDEN, cell="peephole", zoneout=0.2).eval()
    prepared = prepare(cell)
    x = torch.randn(3, INPUTS)
    with torch.no_grad():
        h, c = cell(x)
    state = prepared.initial_state(3)
    output = prepared.step(x.numpy(), state)
    np.testing.assert_allclose(output, h.numpy(), atol=1e-6)
    np.testing.assert_allclose(state.c[0], c.numpy(), atol=1e-6)
    np.testing.assert_array_equal(state.h[0], output)


@needs_core
def test_weights_by_name_are_those_of_the_layer() -> None:
    layer = layer_of(
        cell="peephole",
        num_layers=2,
        bidirectional=True,
        learn_initial_state=True,
        zoneout=(0.2, 0.1),
        cell_clip=0.5,
    )
    cell = modifiers.expected_zoneout(modifiers.clip(layer.cell, 0.5), 0.2, 0.1)
    weights = {name: value.numpy() for name, value in layer.state_dict().items()}
    x = np.random.default_rng(4).standard_normal((STEPS, 2, INPUTS), np.float32)
    np.testing.assert_array_equal(prepare_arrays(cell, weights).run(x)[0], prepare(layer.train()).run(x)[0])


@needs_core
def test_weights_are_copied() -> None:
    layer = layer_of(cell="peephole")
    prepared = prepare(layer)
    x = np.random.default_rng(5).standard_normal((STEPS, 2, INPUTS), np.float32)
    before, _ = prepared.run(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    del layer
    np.testing.assert_array_equal(prepared.run(x)[0], before)


@needs_core
@pytest.mark.parametrize("batch", [1, 40])
def test_threads_change_no_bit(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    layer = holdfast.LSTM(64, 128, 2)
    x = np.random.default_rng(6).standard_normal((20, batch, 64), np.float32)
    prepared = prepare(layer)
    alone, state = prepared.run(x, threads=1)
    for threads in (2, None):
        output, final = prepared.run(x, threads=threads)
        np.testing.assert_array_equal(output, alone)
        np.testing.assert_array_equal(final.c, state.c)


@needs_core
def test_many_threads_use_one_stack_with_states_of_their_own() -> None:
    prepared = prepare(
        holdfast.LSTM(32, 300, 4, residual=True)
    )  # so large that Python lets others run meanwhile
    x = np.random.default_rng(7).standard_normal((8, 20, 2, 32), np.float32)
    expected = [prepared.run(own)[0] for own in x]

    def steps(own: np.ndarray) -> np.ndarray:
        return frames_of(prepared, own, prepared.initial_state(2))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(steps, x))
    np.testing.assert_array_equal(found, expected)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


SHARED = zeros(3, 1, 2, HIDDEN)
WRONG_STEPS: dict[str, tuple[Callable[[], tuple[Any, Any, Any]], str]] = {
    "x of another width": (
        lambda: (zeros(2, INPUTS + 1), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), None),
        r"x must be float32 of shape \[B, 5\], got float32 of shape \[2, 6\]",
    ),
    "x of another type": (
        lambda: (zeros(2, INPUTS, dtype=float), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), None),
        r"x must be float32 of shape \[B, 5\], got float64 of shape \[2, 5\]",
    ),
    "x of three axes": (
        lambda: (zeros(1, 2, INPUTS), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), None),
        r"x must be float32 of shape \[B, 5\], got float32 of shape \[1, 2, 5\]",
    ),
    "x that is a list": (
        lambda: ([[0.0] * INPUTS], (zeros(1, 1, HIDDEN), zeros(1, 1, HIDDEN)), None),
        "x must be an array of float32, got list",
    ),
    "x that is not dense": (
        lambda: (zeros(2, 2 * INPUTS)[:, ::2], (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), None),
        "x must be dense, got an array whose elements are not side by side",
    ),
    "x of other bytes": (
        lambda: (zeros(2, INPUTS, dtype=">f4"), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), None),
        r"got type '>f' of shape \[2, 5\]",
    ),
    "a state of other rows": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN), zeros(1, 3, HIDDEN)), None),
        r"c of state must be float32 of shape \[1, 2, 19\], got float32 of shape \[1, 3, 19\]",
    ),
    "a state without a batch axis": (
        lambda: (zeros(2, INPUTS), (zeros(1, HIDDEN), zeros(1, HIDDEN)), None),
        r"h of state must be float32 of shape \[1, 2, 19\], got float32 of shape \[1, 19\]",
    ),
    "one state": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN),), None),
        "state must be a tuple of 2 arrays, got 1",
    ),
    "no state": (lambda: (zeros(2, INPUTS), None, None), "state must be a tuple of 2 arrays, got NoneType"),
    "a state that is read-only": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN), read_only(zeros(1, 2, HIDDEN))), None),
        "c of state must be writable, got a read-only array",
    ),
    "a state twice": (
        lambda: (zeros(2, INPUTS), (SHARED[0], SHARED[0]), None),
        "h of state must be apart from c of state, got arrays that share memory",
    ),
    "an output of other rows": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), zeros(1, HIDDEN)),
        r"out must be float32 of shape \[2, 19\], got float32 of shape \[1, 19\]",
    ),
    "an output that is read-only": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), read_only(zeros(2, HIDDEN))),
        "out must be writable, got a read-only array",
    ),
    "an output that is not dense": (
        lambda: (zeros(2, INPUTS), (zeros(1, 2, HIDDEN), zeros(1, 2, HIDDEN)), zeros(HIDDEN, 2).T),
        "out must be dense",
    ),
    "an output in the state": (
        lambda: (zeros(2, INPUTS), (SHARED[0], SHARED[1]), SHARED[1, 0]),
        "c of state must be apart from out, got arrays that share memory",
    ),
}


@needs_core
@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_a_step_refuses_what_does_not_fit(wrong: str) -> None:
    prepared = prepare(layer_of())
    arguments, message = WRONG_STEPS[wrong]
    x, state, out = arguments()
    with pytest.raises(InputError, match=message):
        prepared.step(x, state, out)
    assert state is None or not any(part.any() for part in state)


@needs_core
def test_a_run_refuses_what_does_not_fit() -> None:
    prepared = prepare(layer_of(bidirectional=True))
    x, out = zeros(STEPS, 2, INPUTS), zeros(STEPS, 2, 2 * HIDDEN)
    for arguments, message in (
        ({"x": zeros(STEPS, 2, INPUTS, dtype=float)}, r"x must be float32 of shape \[T, B, 5\], got float64"),
        ({"x": zeros(INPUTS)}, r"x must have the shape \[T, B, I\] or \[T, I\], got \[5\]"),
        (
            {"state": (zeros(1, 2, HIDDEN), zeros(2, 2, HIDDEN))},
            r"h of state must be .* of shape \[2, 2, 19\]",
        ),
        ({"lengths": [1]}, r"lengths must be int64 of shape \[2\], got int64 of shape \[1\]"),
        ({"lengths": [1, STEPS + 1]}, "lengths must be from 0 to T = 6, got 7 for row 1"),
        ({"lengths": [-1, 1]}, "lengths must be from 0 to T = 6, got -1 for row 0"),
        ({"lengths": [1.0, 2.0]}, "lengths must be integers, one for each row, got float64"),
        ({"x": x[:, 0], "lengths": [1]}, "got lengths for one sequence without a batch axis"),
        ({"out": zeros(STEPS, 2, HIDDEN)}, r"out must be float32 of shape \[6, 2, 38\]"),
        ({"out": read_only(out.copy())}, "out must be writable"),
        (
            {"out": out, "state": (out[1:3, :, :HIDDEN].copy(), out.reshape(-1)[:76].reshape(2, 2, 19))},
            "apart",
        ),
        ({"state": 5}, "state must be a tuple of 2 arrays, got int"),
        ({"x": [[1.0], [1.0, 2.0]]}, "x must be an array: "),
        ({"lengths": [[1], [1, 2]]}, "lengths must be an array: "),
        ({"threads": 0}, "threads must be a positive integer, got 0"),
        ({"threads": True}, "threads must be a positive integer, got True"),
    ):
        with pytest.raises(InputError, match=message):
            prepared.run(**{"x": x, **arguments})


@needs_core
def test_a_run_of_one_sequence_refuses_what_does_not_fit() -> None:
    prepared = prepare(layer_of())
    x, whole = zeros(STEPS, INPUTS), zeros(1, HIDDEN)
    for arguments, message in (
        ({"state": 5}, "state must be a tuple of 2 arrays, got int"),
        ({"state": (whole,)}, "state must be a tuple of 2 arrays, got 1"),
        ({"state": (0.0, 0.0)}, r"h of state must have two axes where x has the shape \[T, I\], got \[\]"),
        ({"state": (whole, zeros(1, 1, HIDDEN))}, r"c of state must have two axes .*, got \[1, 1, 19\]"),
        ({"state": (whole, [[1.0], [1.0, 2.0]])}, "c of state must be an array: "),
        ({"out": 5}, "out must be an array, got int"),
        ({"out": [[0.0] * HIDDEN] * STEPS}, "out must be an array, got list"),
        ({"out": zeros(STEPS, 1, HIDDEN)}, r"out must have two axes .*, got \[6, 1, 19\]"),
    ):
        with pytest.raises(InputError, match=message):
            prepared.run(x, **arguments)
    with pytest.raises(InputError, match="x must be an array of float32, got list"):
        prepared.step([[1.0], [1.0, 2.0]], prepared.initial_state())


@needs_core
@pytest.mark.parametrize(
    ("wish", "threads"), [("3", 3), ("2,1", 2), (" 1 ", 1), ("", None), ("0", None), ("many", None)]
)
def test_a_run_takes_the_threads_that_the_environment_says(
    wish: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)), raising=False)
    prepared, given = prepare(layer_of()), []
    monkeypatch.setattr(
        prepared, "_core", SimpleNamespace(run=lambda *arguments: given.append(arguments[-1]))
    )
    prepared.run(zeros(STEPS, INPUTS))
    prepared.run(zeros(STEPS, INPUTS), threads=5)
    assert given == [threads or 7, 5]


@needs_core
def test_a_bidirectional_stack_refuses_to_step() -> None:
    prepared = prepare(layer_of(bidirectional=True))
    with pytest.raises(ConfigError, match="the stack is bidirectional: give whole sequences to run"):
        prepared.step(zeros(1, INPUTS), prepared.initial_state(1))


@needs_core
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(
    "options",
    [
        {"cell": "layernorm"},
        {"cell": "layernorm", "proj_size": 3, "num_layers": 2, "bidirectional": True},
        {"proj_size": 3, "num_layers": 3, "residual": True},
        {"cell": "full_gate_recurrence", "zoneout": (0.1, 0.2)},
    ],
)
def test_staged_cells_step_and_run_as_the_layer(options: dict[str, Any], batch: int) -> None:
    layer = layer_of(**options).eval()
    prepared, x = prepare(layer), torch.randn(5, batch, INPUTS)
    with torch.no_grad():
        output, state = layer(x)
    found, after = prepared.run(x.numpy())
    torch.testing.assert_close(torch.from_numpy(found), output)
    torch.testing.assert_close([torch.from_numpy(part) for part in after], list(state))
    if prepared.directions == 1:
        own = prepared.initial_state(batch)
        steps = np.stack([prepared.step(frame, own) for frame in x.numpy()])
        assert np.array_equal(steps, found)
        assert all(np.array_equal(part, other) for part, other in zip(own, after, strict=True))


@needs_core
def test_what_is_no_stack_is_refused() -> None:
    weights = {name: value.numpy() for name, value in layer_of().state_dict().items()}
    for call, error, message in (
        (lambda: prepare("lstm"), ConfigError, r"got a builtins\.str.*prepare_arrays takes arrays by name"),
        (lambda: prepare(torch.nn.LSTM(2, 3)), ConfigError, "holdfast.LSTM.from_torch makes one"),
        (
            lambda: prepare(layer_of().bfloat16()),
            InputError,
            "weight_ih_l0 is bfloat16; prepared weights are",
        ),
        (
            lambda: prepare_arrays("lstm", {}),
            InputError,
            "weights must have weight_ih_l0 and weight_hh_l0, got none",
        ),
        (
            lambda: prepare_arrays("lstm", {**weights, "weight_ih_l1": weights["weight_ih_l0"]}),
            InputError,
            "with 2 layers and 1 directions: missing bias_hh_l1, bias_ih_l1, weight_hh_l1; unknown none",
        ),
        (
            lambda: prepare_arrays("coupled", weights),
            InputError,
            r"weight_ih_l0 must be float32 of shape \[57, 5\], got float32 of shape \[76, 5\]",
        ),
        (
            lambda: prepare_arrays("lstm", {**weights, "bias_ih_l0": weights["bias_ih_l0"].astype(float)}),
            InputError,
            r"bias_ih_l0 must be float32 of shape \[76\], got float64 of shape \[76\]",
        ),
        (
            lambda: prepare_arrays(modifiers.cell_dropout(LSTM_CELL, 0.5), weights),
            ConfigError,
            "a cell with cell_dropout, which is for training",
        ),
        (lambda: prepare_arrays("lsmt", weights), ConfigError, "Did you mean 'lstm'"),
    ):
        with pytest.raises(error, match=message):
            call()


@needs_core
def test_it_says_what_it_is() -> None:
    prepared = holdfast.prepare(layer_of(num_layers=2))
    assert isinstance(prepared, Prepared)
    assert repr(prepared).startswith("<Prepared lstm: 5, 19, layers 2, directions 1, float32, ")
    assert (prepared.input_size, prepared.hidden_size, prepared.num_layers, prepared.directions) == (
        5,
        19,
        2,
        1,
    )
    assert prepared._core.time_steps(zeros(2, INPUTS), 10) > 0  # for the benchmarks


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_runtime_needs_no_torch() -> None:
    run_python("import sys, holdfast.runtime; assert 'torch' not in sys.modules")


@needs_core
def test_prepared_inference_runs_where_torch_is_not_installed() -> None:
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from holdfast.runtime import prepare_arrays
prepared = prepare_arrays("rnn", {"weight_ih_l0": np.eye(2), "weight_hh_l0": np.eye(2)})
print(prepared.run(np.ones((3, 1, 2)))[0].shape)
"""
    assert run_python(code) == "(3, 1, 2)"


def test_without_the_compiled_core_it_says_so() -> None:
    code = """
import sys
sys.modules["holdfast._core"] = None
import numpy as np, holdfast, holdfast.runtime
try:
    weights = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    holdfast.runtime.prepare_arrays("lstm", weights)
except holdfast.BackendError as error:
    print(error)
"""
    assert "the compiled core, which is not built here: `holdfast doctor` says how" in run_python(code)
    assert (
        run_python("import sys, holdfast; print(holdfast.release_memory(), 'holdfast._core' in sys.modules)")
        == "0 False"
    )


def test_a_core_of_other_equations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_core.cache_clear()
    monkeypatch.setitem(sys.modules, "holdfast._core", SimpleNamespace(cells_digest="of other equations"))
    with pytest.raises(BackendError, match="built from other cells: install holdfast again"):
        compiled_core()


@needs_core
def test_the_memory_that_is_kept_can_be_released() -> None:
    layer = holdfast.LSTM(64, 128, backend="native")
    layer(torch.randn(100, 32, 64))[0].sum().backward()
    gc.collect()
    assert release_memory() > 2**20
    assert release_memory() == 0
    assert layer(torch.randn(100, 32, 64))[0].isfinite().all()
