"""The PyTorch way: two processes that share the gradients (DistributedDataParallel) train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

T, B, I, H = 5, 4, 3, 6  # noqa: E741 - the letters of holdfast.notation
STEPS, PROCESSES = 3, 2

LAYERS: dict[str, dict[str, Any]] = {
    "lstm": {"num_layers": 2, "bidirectional": True},
    "peephole": {"cell": "peephole", "num_layers": 2},
    "layernorm": {"cell": "layernorm", "proj_size": 2, "learn_initial_state": True},
}


def trained(layer: nn.Module, rows: slice) -> dict[str, Tensor]:
    """The parameters after some steps on those rows of the batch."""
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(STEPS, T, B, I, generator=generator)
    lengths = torch.tensor([5, 3, 4, 1])[rows]
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.3)
    for x in data:
        optimiser.zero_grad()
        output = layer(x[:, rows], lengths=lengths)[0]
        output.square().sum(dim=(0, 2)).mean().backward()
        optimiser.step()
    return layer.state_dict()


def made(kind: str) -> nn.Module:
    from holdfast.nn.lstm import LSTM

    torch.manual_seed(0)
    return LSTM(I, H, **LAYERS[kind])


def worker(rank: int, folder: Path) -> None:
    """One of the processes: trains every layer on its share of each batch."""
    meeting = f"file://{folder / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    share = B // PROCESSES
    for kind in LAYERS:
        layer = nn.parallel.DistributedDataParallel(made(kind))
        state = trained(layer, slice(rank * share, (rank + 1) * share))
        torch.save(
            {name.removeprefix("module."): own for name, own in state.items()}, folder / f"{kind}{rank}.pt"
        )
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both processes left what they trained."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("needs torch.distributed with gloo")
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-W", "error", __file__]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(folder)], stderr=subprocess.PIPE, env=os.environ, text=True
        )
        for rank in range(PROCESSES)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, "\n".join(errors)
    return folder


@pytest.mark.parametrize("kind", LAYERS)
def test_two_processes_train_as_one(folder: Path, kind: str) -> None:
    expected = trained(made(kind), slice(None))
    first, second = (torch.load(folder / f"{kind}{rank}.pt", weights_only=True) for rank in range(PROCESSES))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, dict(expected))
    assert not torch.equal(first["weight_hh_l0"], made(kind).state_dict()["weight_hh_l0"])


if __name__ == "__main__":
    worker(int(sys.argv[1]), Path(sys.argv[2]))
