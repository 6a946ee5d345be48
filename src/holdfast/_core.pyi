"""The compiled core (csrc/). Importing it raises ImportError if HOLDFAST_ISA names a level it cannot run."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

version: str
"""The version of holdfast that this core was built from."""

compiler: str
"""The compiler that built it, with its version."""

level: str
"""The level of instruction sets that this process uses: the best one, or the one that HOLDFAST_ISA names."""

levels: tuple[str, ...]
"""The levels that this build and this processor have, from the plainest to the fastest."""

built_levels: tuple[str, ...]
"""The levels in this build, in the same order."""

instruction_sets: tuple[str, ...]
"""What this processor offers, of the instruction sets that levels need."""

cells: tuple[str, ...]
"""The names of the printed cells in this build, by whose place a call asks for one."""

cells_digest: str
"""What tells their names and equations from others: `holdfast.cells.core.digest_of`."""

has_bfloat16: bool
"""Whether calls and prepared stacks may ask for products of bfloat16: whether this level has them."""

cell_sources: tuple[str, ...]
"""The names of the files of csrc/ that a user's own cell is compiled from."""

cell_digest: str
"""What tells those that this core was built with from others: `holdfast.compiling` computes it too."""

compile_flags: tuple[str, ...]
"""The flags of the compiler that are those of `level`."""

_Strided = tuple[int, int, int]
"""The address of rows `[T, B, width]`, and how many elements apart steps and rows are."""
_Draw = tuple[int, int]
"""A random mask's stream and threshold: `Draw` in csrc/recurrence.h."""

class _Call:
    """One call of the recurrence: what its passes read. Same names and shapes as in csrc/recurrence.h.

    Arrays come as addresses, 0 for null, and have to be there as long as a pass runs: what lies at an address
    is not checked. Values, states and gates are in the printed cell's order. Passes let other threads run.

    Args:
        cell: its place in `cells`.
        threads: how many may work on it; the results have the same bits whatever it is.
        sizes: T, B, I, H, L, D, P (0 where h is not projected).
        x: `[T, B, I]`.
        weights: of each layer and direction weight_ih, weight_hh, both biases or twice 0, the row blocks of
            the cell's own parameters, and its own matrices.
        state: what each state starts from, or nothing for zeros.
        lengths: `[B]` int64, or 0.
        reset: `[T, B]` bool, or 0.
        start: what a reset re-initialises each state to, or nothing for zeros.
        seed: 64 bits.
        draws: the cell's masks.
        entering: the mask of the h that enters weight_hh.
        entering_scale: what is left of that h is multiplied by this.
        scalars: the cell's numbers.
        masks: the factors between layers, or nothing.
        residual: whether each layer after the first adds its input to its output.
        sparse: where x is indices: those of the first entry of each step (or 0), of the entries' rows of the
            table that lies in the place of the first weight_ih, and of their factors (or 0).
        recompute: k, where the states of every k-th step are kept; 0 where all values are.
        bfloat16: whether what is multiplied is rounded to bfloat16; only where `has_bfloat16`.

    Raises:
        ValueError: numbers that do not fit each other, or lengths outside 0 to T.
    """

    def __init__(
        self,
        cell: int,
        threads: int,
        sizes: tuple[int, int, int, int, int, int, int],
        x: _Strided,
        weights: Sequence[int],
        state: Sequence[int],
        lengths: int,
        reset: int,
        start: Sequence[int],
        seed: int,
        draws: Sequence[_Draw],
        entering: _Draw,
        entering_scale: float,
        scalars: Sequence[float],
        masks: Sequence[int],
        residual: bool,
        sparse: tuple[int, int, int] | None = None,
        recompute: int = 0,
        bfloat16: bool = False,
    ) -> None: ...
    def forward(
        self,
        output: int,
        state: Sequence[int],
        values: Sequence[int],
        numbers: int = 0,
        checkpoints: Sequence[int] = (),
        passed: int = 0,
    ) -> None:
        """Write the output, the last states, and what is kept.

        Args:
            output: `[T, B, D*(P or H)]`.
            state: after each row's last step.
            values: all values and the parts of gates that are read apart; or nothing.
            numbers: `[L, D, T, B, numbers of a row]`, with the values of cells that have such; or 0.
            checkpoints: in their place where the call recomputes: of each state
                `[L, D, ceil(T / k), B, its width]`, the first entry of which is not written; or nothing.
            passed: with them `[L - 1, T, B, D*(P or H)]`, what each layer but the last gave; or 0.

        Raises:
            MemoryError: there is none for what it keeps meanwhile.
        """

    def backward(
        self,
        values: Sequence[int],
        d_output: _Strided,
        d_state: Sequence[int],
        d_states_at: Sequence[int],
        x: int,
        weights: Sequence[int],
        initial: Sequence[int],
        start: Sequence[int],
        gates: Sequence[int],
        states_at: Sequence[int],
        numbers: int = 0,
        checkpoints: Sequence[int] = (),
        passed: int = 0,
    ) -> None:
        """Read what `forward` kept and what reaches its results; write the gradients.

        Args:
            values: all of them; nothing where the call recomputes.
            d_output: base 0 where nothing reaches the output.
            d_state: what reaches each last state, or 0.
            d_states_at: what reaches each kept state at each step, or 0.
            x: the gradient of x, or 0.
            weights: of each layer and direction the gradients of weight_ih, weight_hh, of either bias (or 0),
                of the row blocks and of the own matrices; or nothing.
            initial: of what each state started from.
            start: of what a reset re-initialises each state to, or nothing.
            gates: of the pre-activations, or nothing.
            states_at: all that reaches each state at each step or 0, or nothing.
            numbers: as `forward` wrote them.
            checkpoints: as `forward` wrote them.
            passed: as `forward` wrote it.

        Raises:
            MemoryError: there is none for what it keeps meanwhile.
        """

class Float32Call(_Call):
    """All numbers are float32."""

class Float64Call(_Call):
    """All numbers are float64."""

def load_cells(path: str) -> tuple[int, ...]:
    """Take in the cells of a library that csrc/user_cell.cc was compiled to; it is never unloaded.

    Args:
        path: where it lies.

    Returns:
        The places by which calls ask for them, after those of `cells`.

    Raises:
        ImportError: there is no library that loads.
        ValueError: it is of no cell, or was compiled for another build or level.
    """

def empty(shape: Sequence[int], doubles: bool) -> Tensor:
    """A tensor in the core's own memory, with whatever content; the memory is kept when the tensor dies.

    Args:
        shape: its sizes.
        doubles: float64 instead of float32.

    Raises:
        MemoryError: there is not so much.
    """

def memory() -> tuple[int, int]:
    """How many bytes of the core's own memory are in use, and how many are kept for the next call."""

def adopt_openmp(library: str) -> bool:
    """Use the threads of this OpenMP runtime from now on; false where the process has not loaded it."""

def trim() -> None:
    """Free what is kept."""
