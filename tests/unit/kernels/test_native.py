"""The core as a backend: what it refuses, what it checks before it reads, and whose memory it writes."""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import holdfast
from holdfast import cells
from holdfast.cells import get
from holdfast.cells.core import PRINTED
from holdfast.cells.registry import BUILT_IN
from holdfast.errors import BackendError, InputError
from holdfast.kernels import Request, native
from holdfast.kernels.interface import Forward, Upstream, Wanted
from holdfast.kernels.native import NativeBackend
from holdfast.kernels.native_call import NativeCall

built = importlib.util.find_spec("holdfast._core") is not None
needs_core = pytest.mark.skipif(not built, reason="the compiled core is not built")
if built:
    from holdfast import _core

T, B, I, H = 50, 16, 24, 128  # noqa: E741 - the letters of holdfast.notation
BACKEND = NativeBackend()
EVERYTHING = Wanted(x=True, weights=True)


def request_of(
    cell: str = "lstm",
    *,
    sizes: tuple[int, int, int, int] = (T, B, I, H),
    layers: int = 1,
    directions: int = 1,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> Request:
    """A call without gradients, of random numbers."""
    steps, batch, inputs, hidden = sizes
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype) * 0.3

    kind = get(cell)
    rows = len(kind.gates) * hidden
    weights = []
    for layer in range(layers):
        width = directions * hidden if layer else inputs
        own = [{"weight_ih": draw(rows, width), "weight_hh": draw(rows, hidden)} for _ in range(directions)]
        for one in own:
            one |= {"bias_ih": draw(rows), "bias_hh": draw(rows)}
            one |= {parameter.name: draw(*parameter.shape(hidden)) for parameter in kind.parameters}
        weights.append(own)
    state = tuple(draw(layers * directions, batch, hidden) for _ in kind.states)
    given = {"x": draw(steps, batch, inputs), "state": state, **more}
    return Request(kind, weights=weights, **given)


def upstream_of(request: Request, found: Forward) -> Upstream:
    generator = torch.Generator().manual_seed(1)

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    return Upstream(draw(found.output), [draw(part) for part in found.state], {})


def run(request: Request, wanted: Wanted = EVERYTHING) -> dict[str, Tensor]:
    """Everything that both passes write, by name."""
    found = BACKEND.forward(request, keep=True)
    gradients = BACKEND.backward(request, found, upstream_of(request, found), wanted)
    named = {"output": found.output, **found.values}
    named |= {} if gradients.x is None else {"d_x": gradients.x}
    for name, several in (("state", found.state), ("d_state", gradients.state), ("d_start", gradients.start)):
        named |= {f"{name}{k}": one for k, one in enumerate(several)}
    for layer, directions in enumerate(gradients.weights):
        for d, own in enumerate(directions):
            named |= {f"d_{name}.{layer}.{d}": one for name, one in own.items()}
    return named | {f"d_tap_{name}": one for name, one in gradients.taps.items()}


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def run_python(code: str, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def reason_against(layer: holdfast.LSTM, x: Tensor, **call: Any) -> str:
    return BACKEND.supports(layer.request(x, **call)) or ""


class TestWhatItRefuses:
    x = torch.zeros(3, 2, 4)

    def test_types_that_it_does_not_compute_in(self) -> None:
        assert "torch.float16" in reason_against(holdfast.LSTM(4, 5, dtype=torch.float16), self.x.half())

    def test_what_autocast_would_make_of_the_call(self) -> None:
        single, double = holdfast.LSTM(4, 5), holdfast.LSTM(4, 5, dtype=torch.float64)
        with torch.autocast("cpu", torch.float16):
            assert "torch.float16" in reason_against(single, self.x)
            assert reason_against(double, self.x.double()) == ""  # which autocast leaves alone
        assert reason_against(single, self.x) == ""

    def test_other_devices(self) -> None:
        assert "on meta" in reason_against(holdfast.LSTM(4, 5, device="meta"), self.x.to("meta"))

    @pytest.mark.parametrize("cell", [cell.name for cell in BUILT_IN])
    def test_nothing_that_the_layer_can_say_of_its_own_cells(self, cell: str) -> None:
        assert reason_against(holdfast.LSTM(4, 5, cell=cell), self.x) == ""
        assert reason_against(holdfast.LSTM(4, 5, cell=cell, proj_size=2, zoneout=0.1), self.x) == ""

    def test_cells_of_others_that_are_not_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOLDFAST_COMPILE", "0")
        monkeypatch.setitem(cells.CELLS, "never_compiled", cells.get("lstm"))  # what is there goes afterwards

        @holdfast.cell
        def never_compiled(g: Any, c: Any, rate: Any = 0.9) -> Any:
            g = cells.tanh(g)
            c = rate * c + g
            return cells.named(g=g, c=c, h=cells.tanh(c))

        reason = "the cell 'never_compiled' is not compiled, because HOLDFAST_COMPILE is 0"
        assert reason_against(holdfast.LSTM(4, 5, cell=never_compiled), self.x) == reason
        zoned = holdfast.LSTM(4, 5, cell=never_compiled, zoneout=0.1)
        assert reason_against(zoned, self.x) == reason

    @needs_core
    def test_asking_for_it_by_name_raises_with_the_reason(self) -> None:
        with pytest.raises(BackendError, match=r"backend='native' cannot run this call.*float16"):
            holdfast.LSTM(4, 5, dtype=torch.float16, backend="native")(self.x.half())


class TestWhereItIsMissing:
    def test_a_core_that_was_not_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "holdfast._core", None)
        assert native._loaded() == "the compiled core is not built"

    def test_a_core_of_other_cells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = tuple(printed.name for printed in PRINTED)
        old = SimpleNamespace(cells=names, cells_digest="of other equations")
        monkeypatch.setitem(sys.modules, "holdfast._core", old)
        reason = native._loaded()
        assert isinstance(reason, str)
        assert "install holdfast again" in reason

    @needs_core
    def test_a_core_that_does_not_load(self) -> None:
        code = """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from holdfast.kernels import backends
print(backends()[0], [str(one.message) for one in said if one.category is RuntimeWarning])
"""
        found = run_python(code, HOLDFAST_ISA="x86-64-v9")
        assert found.startswith(
            "BackendStatus(name='native', available=False, reason='the compiled core does not"
        )
        assert found.count("x86-64-v9") == 2
        assert "slower backends run in its place" in found

    def test_without_it_the_others_run_and_explain_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "_core", "the compiled core is not built")
        lines = holdfast.explain(holdfast.LSTM(4, 5), torch.zeros(3, 2, 4)).splitlines()
        assert lines[0].startswith("torch: chosen")
        assert lines[1] == "native: refused: the compiled core is not built"


@needs_core
class TestWhatItSays:
    def test_its_level_and_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HOLDFAST_ISA", raising=False)
        line = holdfast.explain(holdfast.LSTM(4, 5), torch.zeros(3, 2, 4)).splitlines()[0]
        assert line.startswith("native: chosen (")
        assert f"{_core.level}, the best that this processor runs" in line
        threads = torch.get_num_threads()
        assert line.endswith(f"; {'1 thread' if threads == 1 else f'up to {threads} threads'})")
        monkeypatch.setenv("HOLDFAST_ISA", _core.level)
        assert f"{_core.level}, which HOLDFAST_ISA asks for" in BACKEND.summary

    @pytest.mark.parametrize("level", _core.levels if built else ())
    def test_every_level_computes_the_same_but_for_rounding(self, level: str) -> None:
        numbers = run_python(f"{SMALL_STEP}\nprint(*numbers)", HOLDFAST_ISA=level)
        here: dict[str, Any] = {}
        exec(SMALL_STEP, here)
        found = torch.tensor([float(number) for number in numbers.split()])
        torch.testing.assert_close(found, torch.tensor(here["numbers"]), rtol=1e-4, atol=1e-6)


SMALL_STEP = """
import torch, holdfast
torch.manual_seed(0)
layer = holdfast.LSTM(5, 19, num_layers=2, bidirectional=True, cell="peephole", zoneout=0.2, backend="native")
output, _ = layer(torch.randn(7, 3, 5), lengths=[7, 0, 4])
output.square().sum().backward()
numbers = [*output.flatten().tolist(), *layer.weight_hh_l0.grad.flatten().tolist()]
"""


def malformed() -> dict[str, Request]:
    """Calls of which one tensor each is not as the others need it."""
    plain = request_of("peephole", sizes=(4, 3, 2, 5), layers=2)
    own, later = plain.weights[0][0], plain.weights[1][0]
    short = {name: replace(plain, weights=[[{**own, name: own[name][..., :-1]}], [later]]) for name in own}
    assert plain.state is not None
    h, c = plain.state
    lengths, reset = torch.tensor([4, 1, 0]), torch.zeros(4, 3, dtype=torch.bool)
    return {
        **short,
        "weight_ih of the second layer": replace(
            plain, weights=[[own], [{**later, "weight_ih": own["weight_ih"]}]]
        ),
        "state": replace(plain, state=(h, c[:, :2])),
        "state of one tensor": replace(plain, state=(h,)),
        "start": replace(plain, reset=reset, start=(h[:, 0], c[:, 0, :4])),
        "lengths": replace(plain, lengths=lengths[:2]),
        "lengths of int32": replace(plain, lengths=lengths.int()),
        "lengths beyond T": replace(plain, lengths=lengths + 1),
        "lengths below 0": replace(plain, lengths=lengths - 1),
        "reset": replace(plain, reset=reset[:3]),
        "reset of bytes": replace(plain, reset=reset.byte()),
        "mask": replace(plain, masks=(torch.ones(4, 3, 4),)),
        "masks, two of them": replace(plain, masks=(torch.ones(4, 3, 5),) * 2),
        "state of float64": replace(plain, state=(h, c.double())),
        "weight on another device": replace(
            plain, weights=[[{**own, "weight_hh": own["weight_hh"].to("meta")}], [later]]
        ),
    }


@needs_core
class TestWhatItChecks:
    """A wrong size must never make the core read beyond a tensor."""

    @pytest.mark.parametrize("what", malformed() if built else ())
    def test_a_tensor_that_does_not_fit_is_refused(self, what: str) -> None:
        with pytest.raises(
            ValueError, match=what.replace(",", "").split(maxsplit=1)[0]
        ):  # an InputError is one too
            BACKEND.forward(malformed()[what], keep=True)

    @pytest.mark.parametrize("name", ["c", "output", "state", "value"])
    def test_in_the_backward_pass_too(self, name: str) -> None:
        request = request_of(sizes=(4, 3, 2, 5))
        found = BACKEND.forward(request, keep=True)
        upstream = upstream_of(request, found)
        assert upstream.output is not None
        wrong = {
            "c": (replace(found, values={**found.values, "c": found.values["c"][:, :, 1:]}), upstream),
            "output": (found, replace(upstream, output=upstream.output[1:])),
            "state": (found, replace(upstream, state=[None, torch.zeros(1, 3, 4)])),
            "value": (found, replace(upstream, values={"c": torch.zeros(1, 1, 4, 3, 4)})),
        }
        with pytest.raises(InputError, match=r"must be torch\.float32 of shape"):
            BACKEND.backward(request, *wrong[name], EVERYTHING)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"cell": -1}, "no cell"),
            ({"cell": 1000}, "no cell"),
            ({"threads": 0}, "threads"),
            ({"sizes": (0, 0, 1, 0, 1, 1, 0)}, "H and L"),
            ({"sizes": (0, -1, 1, 1, 1, 1, 0)}, "negative"),
            ({"sizes": (0, 0, 1, 1, 1, 3, 0)}, "D must be"),
            ({"weights": [0] * 5}, "5 weights, needed are 4"),
            ({"state": [0]}, "1 states, needed are 2"),
            ({"start": [0] * 3}, "3 starts"),
            ({"draws": [(0, 0)]}, "1 draws, needed are 0"),
            ({"scalars": [0.0] * 9}, "scalars"),
            ({"masks": [0]}, "1 masks, needed are 0"),
        ],
    )
    def test_a_call_of_the_core_itself_counts_what_it_is_given(
        self, changes: dict[str, Any], message: str
    ) -> None:
        right: dict[str, Any] = dict.fromkeys(["state", "start", "draws", "scalars", "masks"], ())
        right |= dict.fromkeys(["cell", "lengths", "reset", "seed"], 0)
        right |= {"threads": 1, "sizes": (0, 0, 1, 1, 1, 1, 0), "x": (0, 0, 0), "weights": [0] * 4}
        right |= {"entering": (0, 0), "entering_scale": 1.0, "residual": False}
        _core.Float32Call(**right)
        with pytest.raises(ValueError, match=message):
            _core.Float32Call(**right | changes)


@needs_core
class TestWhatItComputes:
    @pytest.mark.usefixtures("two_threads")
    @pytest.mark.parametrize("cell", ["lstm", "peephole"])
    @pytest.mark.parametrize("batch", [33, 2, 1])
    @pytest.mark.parametrize(
        "wanted", [EVERYTHING, Wanted(x=True, weights=False), Wanted(x=False, weights=True)]
    )
    def test_the_bits_do_not_depend_on_threads(self, cell: str, batch: int, wanted: Wanted) -> None:
        lengths = torch.tensor([T, 3, 0, 41] * 9)[:batch]
        request = request_of(cell, sizes=(T, batch, I, H), layers=2, directions=2, lengths=lengths)
        both = [run(request, wanted) for _ in range(3)]
        torch.set_num_threads(1)
        alone = run(request, wanted)
        for found in both:
            assert_same_bits(found, alone)

    def test_the_bits_are_the_same_in_many_threads_at_once(self) -> None:
        request = request_of(directions=2)
        expected = run(request)
        found: list[dict[str, Tensor]] = []

        def work() -> None:
            found.extend(run(request) for _ in range(3))

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(found) == 9
        for one in found:
            assert_same_bits(one, expected)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_everything_is_dense_of_the_right_type_and_zero_in_padding(self, dtype: torch.dtype) -> None:
        lengths = torch.tensor([T, 0, 7, 49] * 4)
        request = request_of(lengths=lengths, dtype=dtype)
        taps = {name: torch.zeros((), dtype=dtype).expand(1, 1, T, B, H) for name in request.cell.tapped}
        request = replace(request, taps=taps)
        dirty(dtype)
        named = run(request)
        padding = torch.arange(T).unsqueeze(1) >= lengths
        shapes = {"output": (T, B, H), "d_x": (T, B, I), "state1": (1, B, H), "c": (1, 1, T, B, H)}
        for name, value in named.items():
            assert value.dtype == dtype
            assert value.is_contiguous()
            assert value.isfinite().all(), name
            if value.shape[-3:-1] == (T, B):
                assert (value.flatten(0, -4) if value.dim() > 3 else value[None])[:, padding].eq(0).all(), (
                    name
                )
        for name, shape in shapes.items():
            assert named[name].shape == shape

    @pytest.mark.parametrize(
        "view",
        [
            lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
            lambda x: torch.cat([x, x], 2)[..., :I],
            lambda x: torch.cat([x, x], 2)[..., I:],
            lambda x: torch.stack([x, x], 3)[..., 1],
            lambda x: torch.cat([x, x], 1)[:, B:],
            lambda x: torch.stack([x, x], 1).flatten(0, 1)[::2],
        ],
    )
    def test_views_are_read_as_what_they_show(self, view: Any) -> None:
        request = request_of()
        shown = view(request.data)
        assert torch.equal(shown, request.data)
        own = {
            name: torch.stack([weight, weight], -1)[..., 0] for name, weight in request.weights[0][0].items()
        }
        assert not own["weight_hh"].is_contiguous()
        assert_same_bits(run(replace(request, x=shown, weights=[[own]])), run(request))

    def test_a_row_for_all_steps_and_a_gradient_for_all(self) -> None:
        request = request_of()
        found = BACKEND.forward(request, keep=True)
        one = torch.ones(()).expand_as(found.output)
        dense, spread = (
            BACKEND.backward(request, found, Upstream(output, [None, None], {}), EVERYTHING)
            for output in (one.clone(), one)
        )
        assert dense.x is not None
        assert spread.x is not None
        assert torch.equal(dense.x, spread.x)
        row = request.data[:1].expand(T, B, I)
        assert_same_bits(run(replace(request, x=row)), run(replace(request, x=row.clone())))

    @pytest.mark.parametrize("sizes", [(0, 3, 2, 5), (4, 0, 2, 5), (0, 0, 2, 5), (4, 3, 0, 5)])
    def test_without_steps_rows_or_inputs(self, sizes: tuple[int, int, int, int]) -> None:
        steps, batch, inputs, hidden = sizes
        request = request_of("peephole", sizes=sizes, directions=2)
        assert request.state is not None
        named = run(request)
        assert named["output"].shape == (steps, batch, 2 * hidden)
        assert named["d_x"].shape == (steps, batch, inputs)
        if steps == 0:
            assert torch.equal(named["state1"], request.state[1])
        if steps == 0 or batch == 0:
            assert all(named[name].eq(0).all() for name in named if name.startswith(("d_weight", "d_bias")))


def dirty(dtype: torch.dtype) -> None:
    """Leave NaN in the memory that the next calls are given."""
    blocks = [_core.empty((T, B, H), dtype == torch.float64).fill_(torch.nan) for _ in range(24)]
    del blocks


@needs_core
class TestWhoseMemoryItIs:
    def test_the_next_call_gets_the_memory_of_the_last(self) -> None:
        request = request_of()
        first = run(request)
        large = {name for name, value in first.items() if value.nbytes >= 2**18}
        assert {"output", "i", "c", "h"} <= large
        places = {first[name].data_ptr() for name in large}
        used = _core.memory()[0]
        del first
        gc.collect()
        assert _core.memory()[0] <= used - len(large) * 2**18
        second = run(request)
        assert {second[name].data_ptr() for name in large} == places
        _core.trim()
        assert _core.memory()[1] == 0
        assert_same_bits(run(request), second)

    def test_tensors_share_their_memory_with_nothing(self) -> None:
        named = run(request_of(layers=2, directions=2, reset=torch.ones(T, B, dtype=torch.bool)))
        places = [value.untyped_storage().data_ptr() for value in named.values()]
        assert len(set(places)) == len(places)

    def test_they_do_what_other_tensors_do(self) -> None:
        def fresh() -> Tensor:
            return _core.empty((300, 300), False).copy_(torch.arange(90000.0).view(300, 300))

        whole = fresh()
        expected = torch.arange(90000.0).view(300, 300)
        for copied in (whole.clone(), copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
            assert copied.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr()
            assert torch.equal(copied, expected)
        part, array = whole[7:9, 1:], whole.numpy()
        shared = fresh().share_memory_()
        assert shared.is_shared()
        assert torch.equal(shared, expected)
        del whole
        fresh().zero_()
        assert torch.equal(part, expected[7:9, 1:])
        assert torch.equal(torch.from_numpy(array), expected)
        weight = torch.ones(300, 300, requires_grad=True)
        (weight * fresh()).sum().backward()
        assert weight.grad is not None
        assert torch.equal(weight.grad, expected)
        assert torch.equal(fresh().add_(1).sub_(1).reshape(-1), expected.flatten())

    def test_autograd_notices_a_change_of_what_it_keeps(self) -> None:
        layer = holdfast.LSTM(I, H, backend="native")
        output, _, trace = layer(torch.randn(T, B, I), return_trace=True)
        with torch.no_grad():
            trace["c"].zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()

    def test_results_can_be_changed_in_place(self) -> None:
        layer = holdfast.LSTM(I, H, backend="native")
        x = torch.randn(T, B, I)
        output, (h, _) = layer(x)
        expected = torch.autograd.grad(output.mul(2).sum(), list(layer.parameters()))
        output, (h, _) = layer(x)
        h.zero_()
        found = torch.autograd.grad(output.mul_(2).sum(), list(layer.parameters()))
        for mine, other in zip(found, expected, strict=True):
            assert torch.equal(mine, other)

    def test_they_outlive_the_module(self) -> None:
        code = """
import sys, gc, torch, holdfast
layer = holdfast.LSTM(24, 128, backend="native")
output, state = layer(torch.randn(50, 16, 24))
total = output.sum()
for name in [name for name in sys.modules if name.startswith("holdfast")]:
    del sys.modules[name]
del holdfast
gc.collect()
print(torch.equal(output.sum(), total))
"""
        assert run_python(code) == "True"

    @pytest.mark.parametrize("steps", [2, T], ids=["small", "large"])
    def test_it_lies_on_the_cpu_whatever_the_default_device(self, steps: int) -> None:
        request = request_of(sizes=(steps, B, I, H))
        expected = run(request)
        layer, x = holdfast.LSTM(I, H, backend="native"), request.data.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
        with torch.device("meta"):
            for sizes in ((2, 3), (steps, B, H)):  # what torch allocates, and maybe what the core does
                assert (
                    NativeCall(native._built(), request)._new(*sizes).is_cpu
                )  # else nothing's address would reach it
            found = BACKEND.forward(request, keep=True)
            (d_x,) = torch.autograd.grad(layer(x)[0].sum(), x)
        assert torch.equal(found.output, expected["output"])
        assert torch.equal(d_x, wanted)

    def test_too_large_a_tensor_is_out_of_memory(self) -> None:
        with pytest.raises(MemoryError):
            _core.empty((2**40, 2**40), False)
