"""Inference with weights that are packed once: numpy arrays in, numpy arrays out, no torch.

A layer packs its weights anew in every call, since training changes them. For a stream of frames, or for many
calls with the same weights, `prepare` packs them once, in the order in which the core multiplies by them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from holdfast.cells import Cell, modifiers
from holdfast.cells.core import reason_against_bfloat16
from holdfast.compiling import printed_for
from holdfast.errors import BackendError, ConfigError, InputError
from holdfast.notation import State
from holdfast.runtime.core import compiled_core
from holdfast.runtime.stack import BFLOAT16, Array, Stack, named_type, stack_of_layer, stack_of_weights

States = tuple[Array, ...]

_IN_EVALUATION = {"clip", "expected_zoneout"}
_CLASSES = {"float32": "Float32Prepared", "float64": "Float64Prepared"}


def prepare(layer: Any, *, dtype: Any = None) -> Prepared:
    """Pack the weights of a layer once, for inference with numpy arrays.

    Args:
        layer: a `holdfast.LSTM` or a `holdfast.LSTMCell`; what it computes in evaluation, whatever its mode:
            without dropout, zoneout as its expectation. Its weights are copied, so training it further
            changes nothing here.
        dtype: `"float32"`, `"float64"` or `"bfloat16"`, by name or as a type of torch; None for that of the
            weights. In `"bfloat16"` the weights, and what they are multiplied by, are rounded to bfloat16:
            half the memory, and more speed where it counts. All arrays and sums are float32 then.

    Returns:
        The prepared stack.

    Raises:
        BackendError: the compiled core is not built, cannot multiply in bfloat16 here, or has no such cell:
            one of your own that cannot be compiled.
        ConfigError: another kind of layer, or another dtype.
        InputError: weights that are neither all float32 nor all float64, and no dtype.
    """
    name = named_type(dtype)
    return Prepared(stack_of_layer(layer, name), bfloat16=name == BFLOAT16)


def prepare_arrays(
    cell: str | Cell, weights: Mapping[str, Any], *, residual: bool = False, dtype: Any = None
) -> Prepared:
    """Pack weights that are arrays by name once, as `prepare` does those of a layer; torch is not needed.

    Args:
        cell: the equations, by name or as a cell, whose modifiers may be `clip` and `expected_zoneout` of
            `holdfast.cells.modifiers`.
        weights: arrays by name as in `holdfast.notation` and in `state_dict`, float32 or float64; they say
            how many layers and directions there are. `initial_h`, `initial_c` are what sequences start from.
        residual: whether each layer after the first adds its input to its output.
        dtype: as in `prepare`.

    Returns:
        The prepared stack.

    Raises:
        BackendError: as `prepare`.
        ConfigError: no such cell, one of training, or another dtype.
        InputError: weights that are missing, unknown, or of another shape or type.

    Example:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0).standard_normal
        >>> weights = {"weight_ih_l0": draw((256, 32)), "weight_hh_l0": draw((256, 64))}
        >>> prepared = prepare_arrays("lstm", {name: 0.1 * value for name, value in weights.items()})
        >>> state = prepared.initial_state(batch=1)
        >>> for frame in np.zeros((10, 1, 32)):
        ...     output = prepared.step(frame, state)
        >>> output.shape, state.h.shape
        ((1, 64), (1, 1, 64))
    """
    name = named_type(dtype)
    return Prepared(stack_of_weights(cell, weights, residual, name), bfloat16=name == BFLOAT16)


class Prepared:
    """A stack of recurrent layers whose weights are packed; made by `prepare` and `prepare_arrays`.

    It never changes, and any number of threads may use it at once, each with a state of its own. Time comes
    first in all arrays, whatever the layer's `batch_first`: `x.swapaxes(0, 1)` of `[B, T, I]` costs nothing.
    Results equal those of `layer.eval()` within rounding; `step` after `step` equals `run` to the bit, and
    threads change no bit.

    Attributes:
        cell: the equations, with the modifiers of evaluation.
        input_size: I.
        hidden_size: H.
        proj_size: P, the width of h where it is projected; 0 where it is not.
        num_layers: L.
        directions: D.
        dtype: float32 or float64, that of every array.
        bfloat16: whether weights, and what they are multiplied by, are rounded to bfloat16.
        level: the instructions that the core uses, such as `"x86-64-v4"`.
    """

    def __init__(self, stack: Stack, *, bfloat16: bool = False) -> None:
        core = compiled_core()
        if bfloat16 and (reason := reason_against_bfloat16(core)):
            raise BackendError(f"cannot prepare it: {reason}")
        self.cell = stack.cell
        self.input_size, self.hidden_size, self.proj_size = stack.inputs, stack.hidden, stack.projected
        self._width, self._widths = stack.width, [stack.width_of(state) for state in stack.cell.states]
        self.num_layers, self.directions = stack.layers, stack.directions
        self.dtype, self.bfloat16 = stack.dtype, bfloat16
        self.level: str = core.level
        self._initial = stack.initial and tuple([np.array(part) for part in stack.initial])
        self._core = _pack(core, stack, bfloat16)
        # The bound method, looked up once: a step takes about a microsecond.
        self._step = self._core.step if stack.directions == 1 else self._refuse_step

    def initial_state(self, batch: int | None = None) -> States:
        """What sequences start from: zeros, or what the layer has learnt.

        Args:
            batch: B; None for one sequence without a batch axis.

        Returns:
            New arrays, one for each state of the cell, `[L*D, B, H]` or `[L*D, H]`, of h with P in the place
            of H where it is projected: the named tuple `State(h, c)` for cells with just these, else a plain
            tuple in the order of `cell.states`.
        """
        places = self.num_layers * self.directions
        leading = (places,) if batch is None else (places, batch)
        parts = tuple([np.zeros((*leading, width), self.dtype) for width in self._widths])
        for part, own in zip(parts, self._initial or (), strict=False):
            part[...] = own if batch is None else own[:, None]
        return self._named(parts)

    def step(self, x: Array, state: Sequence[Array], out: Array | None = None) -> Array:
        """Run one frame, on this thread.

        It never takes a lock. With `out` it allocates nothing, but in the first step of a thread with so many
        rows through more than two residual layers, a projection, a cell that sums over units, or bfloat16.

        Args:
            x: `[B, I]`, or `[I]` for one sequence; dense.
            state: one array for each state of the cell, `[L, B, H]` (`[L, H]`), as `initial_state` gives
                them. They are changed in place to the state after the frame.
            out: where the output goes, `[B, H]` (`[H]`); None for a new array.

        Returns:
            The output: `out`, or the new array.

        Raises:
            ConfigError: the stack is bidirectional; its reverse direction needs the end of the sequence.
            InputError: an array of another shape or type, one that is written and read-only or shares memory
                with another one. Nothing has changed then.
        """
        if out is None:
            # Of what is no array the core says so.
            out = np.empty((*getattr(x, "shape", ())[:-1], self._width), self.dtype)
        try:
            self._step(x, state, out)
        except ValueError as error:
            raise error if isinstance(error, InputError) else InputError(str(error)) from None
        return out

    def run(
        self,
        x: Array,
        state: Sequence[Array] | None = None,
        lengths: Sequence[int] | Array | None = None,
        out: Array | None = None,
        threads: int | None = None,
    ) -> tuple[Array, States]:
        """Run whole sequences, or the next part of them.

        Args:
            x: `[T, B, I]`, or `[T, I]` for one sequence. Its first two axes may have any strides.
            state: what the sequences start from, as the state that this returns; it is not changed. None for
                `initial_state`.
            lengths: `[B]` integers from 0 to T, as in `holdfast.LSTM`; None where every row has T steps.
            out: where the output goes, `[T, B, D*H]` (`[T, D*H]`), dense; None for a new array. With a
                projection P stands for H, here and in the h of states.
            threads: the most that may work on it at once; None for as many as `OMP_NUM_THREADS` says, or
                else for as many as there are processors.

        Returns:
            The output, zero from each row's length on; and new arrays with the state after each row's last
            step, `[L*D, B, H]` (`[L*D, H]`), in a tuple as from `initial_state`.

        Raises:
            InputError: as `step`, and for lengths or threads that do not fit.
        """
        x = _as_array("x", x)
        single = x.ndim == 2
        if single:
            if lengths is not None:
                raise InputError(
                    "got lengths for one sequence without a batch axis: cut the sequence instead"
                )
            x = x[:, None]
            state = None if state is None else self._with_a_row(state)
        if x.ndim != 3:
            raise InputError(f"x must have the shape [T, B, I] or [T, I], got {list(x.shape)}")
        if x.strides[2] != x.itemsize:
            x = np.ascontiguousarray(x)
        if out is None:
            out = np.empty((*x.shape[:2], self.directions * self._width), self.dtype)
            given = out[:, 0] if single else out
        else:
            given, out = out, _one_row("out", out) if single else out
        if state is None and self._initial is not None:
            state = self.initial_state(x.shape[1])
        places = self.num_layers * self.directions
        parts = tuple([np.empty((places, x.shape[1], width), self.dtype) for width in self._widths])
        try:
            self._core.run(x, state, _checked_lengths(lengths), out, parts, _checked_threads(threads))
        except ValueError as error:
            raise error if isinstance(error, InputError) else InputError(str(error)) from None
        return given, self._named(tuple([part[:, 0] for part in parts]) if single else parts)

    def __repr__(self) -> str:
        sizes = (
            f"{self.input_size}, {self.hidden_size}, layers {self.num_layers}, directions {self.directions}"
        )
        dtype = f"{self.dtype} with products of bfloat16" if self.bfloat16 else self.dtype
        return f"<Prepared {self.cell.name}: {sizes}, {dtype}, {self.level}>"

    def _named(self, parts: States) -> States:
        return cast(States, cast(Any, State)(*parts)) if self.cell.states == State._fields else parts

    def _with_a_row(self, state: Sequence[Array]) -> list[Array]:
        """A state without a batch axis, with one."""
        if not isinstance(state, tuple | list) or len(state) != len(self.cell.states):
            got = len(state) if isinstance(state, tuple | list) else type(state).__name__
            raise InputError(f"state must be a tuple of {len(self.cell.states)} arrays, got {got}")
        return [
            _one_row(f"{name} of state", _as_array(f"{name} of state", part))
            for name, part in zip(self.cell.states, state, strict=True)
        ]

    def _refuse_step(self, *_: object) -> None:
        raise ConfigError(
            "step goes forward frame by frame, but the stack is bidirectional: give whole sequences to run"
        )


def _pack(core: Any, stack: Stack, bfloat16: bool) -> Any:
    """The stack in the core.

    Raises:
        BackendError: the core has no such cell.
        ConfigError: the cell is one of training.
    """
    cell = stack.cell
    printed = printed_for(modifiers.project(cell) if stack.projected else cell, core)
    if isinstance(printed, str):
        raise BackendError(f"cannot prepare it: {printed}")
    others = [name for name, _ in cell.modifiers if name not in _IN_EVALUATION]
    if others:
        raise ConfigError(
            f"cannot prepare a cell with {', '.join(others)}, which is for training; "
            "evaluation has no dropout, and zoneout by its expectation: holdfast.cells.modifiers"
        )
    flat: list[Array | None] = []
    for own in stack.places:
        rows = [own[parameter.name] for parameter in cell.vectors]
        given = [own["weight_ih"], own["weight_hh"], own.get("bias_ih"), own.get("bias_hh")]
        given.append(np.concatenate(rows) if rows else None)
        given += [own[matrix] for matrix in printed.matrices]
        flat += [None if value is None else np.ascontiguousarray(value) for value in given]
    sizes = (stack.inputs, stack.hidden, stack.layers, stack.directions, stack.projected)
    made = getattr(core, _CLASSES[stack.dtype.name])
    return made(printed.index, sizes, flat, printed.numbers_of(cell), stack.residual, bfloat16)


def _as_array(name: str, given: Any) -> Array:
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:  # as of lists of uneven length
        raise InputError(f"{name} must be an array: {error}") from None


def _one_row(name: str, given: Any) -> Array:
    """The array of one sequence, of two axes, with a batch axis of one row between them; not a copy."""
    if not isinstance(given, np.ndarray):
        raise InputError(f"{name} must be an array, got {type(given).__name__}")
    if given.ndim != 2:
        raise InputError(f"{name} must have two axes where x has the shape [T, I], got {list(given.shape)}")
    return given[:, None]


def _checked_lengths(lengths: Sequence[int] | Array | None) -> Array | None:
    if lengths is None:
        return None
    array = _as_array("lengths", lengths)
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"lengths must be integers, one for each row, got {array.dtype}")
    return np.ascontiguousarray(array, np.int64)


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return _default_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads must be a positive integer, got {threads!r}")
    return min(threads, 1024)


def _default_threads() -> int:
    """What OMP_NUM_THREADS says, as in other numerical software; else the processors of this process."""
    wished = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wished.isdecimal() and int(wished) > 0:
        return min(int(wished), 1024)
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
