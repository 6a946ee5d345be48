"""Everything that changes while a network is trained, and how it is kept and restored."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import ModelFileError
from holdfast.training.averaging import WeightAverage
from holdfast.training.checkpoint import Checkpoint
from holdfast.training.history import EpochRow
from holdfast.training.options import TrainingOptions

BETAS = (0.9, 0.99)
SUMS = {"loss": 0.0, "rows": 0.0, "steps": 0.0, "clipped": 0.0, "norm": 0.0, "rate": 0.0}


class Run:
    """The state of one training run.

    Attributes:
        epoch: finished epochs.
        position: finished steps of the present epoch.
        history: one row per finished epoch.
        best: the averaged weights of the epoch with the lowest validation loss.
    """

    def __init__(
        self, network: nn.Module, options: TrainingOptions, *, steps_per_epoch: int, identity: str
    ) -> None:
        self.network = network
        self.options = options
        self.steps_per_epoch = steps_per_epoch
        self.identity = identity
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS, fused=True)
        self.average = WeightAverage(network, options.average_epochs * steps_per_epoch)
        self.epoch = 0
        self.position = 0
        self.sums = dict(SUMS)
        self.history: list[EpochRow] = []
        self.best: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """Finished steps of all epochs."""
        return self.epoch * self.steps_per_epoch + self.position

    @property
    def epochs_without_gain(self) -> int:
        """Finished epochs since the one with the lowest validation loss."""
        losses = [row.valid_loss for row in self.history]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def set_learning_rate(self, rate: float) -> None:
        """For the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.sums["rate"] = rate

    def count(self, loss: float, norm: float, rows: int) -> None:
        """A step is done."""
        self.position += 1
        self.sums["loss"] += loss * rows
        self.sums["rows"] += rows
        self.sums["steps"] += 1
        self.sums["clipped"] += norm > self.options.clip_norm
        self.sums["norm"] = max(self.sums["norm"], norm)

    def end_epoch(self, valid_loss: float, valid_accuracy: float, seconds: float) -> None:
        """An epoch is done: write its row, keep its weights if they are the best."""
        sums = self.sums
        self.history.append(
            EpochRow(
                epoch=self.epoch + 1,
                train_loss=sums["loss"] / sums["rows"],
                valid_loss=valid_loss if math.isfinite(valid_loss) else math.inf,
                valid_accuracy=valid_accuracy,
                learning_rate=sums["rate"],
                gradient_norm=sums["norm"],
                clipped_share=sums["clipped"] / sums["steps"],
                seconds=seconds,
            )
        )
        if self.epochs_without_gain == 0:
            self.best = {name: value.clone() for name, value in self.average.values.items()}
        self.epoch, self.position, self.sums = self.epoch + 1, 0, dict(SUMS)

    @torch.no_grad()
    def take_best(self) -> None:
        """Leave the best averaged weights in the network."""
        for name, parameter in self.network.named_parameters():
            parameter.copy_(self.best[name])
        self.network.eval()

    def checkpoint(self) -> Checkpoint:
        """Everything that decides the rest of the run."""
        tensors: dict[str, Tensor] = {
            f"network.{name}": value for name, value in self.network.named_parameters()
        }
        tensors |= {f"buffer.{name}": value for name, value in self.network.named_buffers()}
        tensors |= {f"average.{name}": value for name, value in self.average.values.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        tensors["random"] = torch.get_rng_state()
        facts = {
            "epoch": self.epoch,
            "position": self.position,
            "sums": self.sums,
            "history": [asdict(row) for row in self.history],
            "average_steps": self.average.steps,
            "conditions": self._conditions(),
        }
        return Checkpoint(tensors, facts)

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where `checkpoint` was taken.

        Raises:
            ModelFileError: it is of another network, of other options, or of another number of threads.
        """
        tensors, facts = checkpoint.tensors, checkpoint.facts
        try:
            self._check_same(facts["conditions"])
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors[f"network.{name}"])
                self.average.values[name].copy_(tensors[f"average.{name}"])
            for name, buffer in self.network.named_buffers():
                buffer.copy_(tensors[f"buffer.{name}"])
            state = self.optimizer.state_dict()
            state["state"] = _optimizer_state(tensors)
            self.optimizer.load_state_dict(state)
            self.epoch, self.position = int(facts["epoch"]), int(facts["position"])
            self.sums = {name: float(facts["sums"][name]) for name in SUMS}
            self.average.steps = int(facts["average_steps"])
            self.history = [EpochRow(**row) for row in facts["history"]]
            self.best = {name: tensors[f"best.{name}"] for name in self.average.values if self.history}
            torch.set_rng_state(tensors["random"])
        except ModelFileError:
            raise
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"the checkpoint is damaged or of another network ({error!r}); train without --resume"
            ) from None

    def _conditions(self) -> dict[str, Any]:
        """What must be the same for the same bits; how often a checkpoint is written does not matter."""
        options = {
            name: value for name, value in asdict(self.options).items() if name != "checkpoint_minutes"
        }
        return {
            **options,
            "number of threads": torch.get_num_threads(),
            "hash of rows and network": self.identity,
            "version of torch": str(torch.__version__),
        }

    def _check_same(self, then: dict[str, Any]) -> None:
        now = self._conditions()
        changed = [
            f"{name} was {then.get(name)} and is {now[name]}" for name in now if then.get(name) != now[name]
        ]
        if changed:
            raise ModelFileError(
                f"the checkpoint was made with other options: {'; '.join(changed)}. "
                "Resume with the same ones, or train without --resume"
            )


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    return state
