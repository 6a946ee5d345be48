"""How long and how fast to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.options import Options, option


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The training loop's options."""

    epochs: int = option(4, "passes over the training rows, at most", at_least=1, at_most=10_000)
    batch_size: int = option(32, "sequences in a batch, at most", at_least=1)
    batch_tokens: int = option(32_768, "padded tokens in a batch, at most", at_least=1)
    learning_rate: float = option(2e-3, "highest learning rate of AdamW", at_least=1e-9, at_most=10)
    weight_decay: float = option(0.01, "AdamW's weight decay, on matrices only", at_least=0, at_most=10)
    warmup: float = option(0.1, "share of all steps in which the learning rate rises", at_least=0, at_most=1)
    schedule: Literal["cosine", "plateau"] = option(
        "cosine", "cosine: falls to 0 over the epochs; plateau: halves when validation stops improving"
    )
    clip_norm: float = option(1.0, "gradients with a larger norm are scaled down to it", at_least=1e-6)
    patience: int = option(3, "epochs without a better validation loss before stopping", at_least=1)
    average_epochs: float = option(
        1.0, "horizon of the weights' moving average, in epochs; 0: no average", at_least=0, at_most=1000
    )
    checkpoint_minutes: float = option(10.0, "minutes between checkpoints inside an epoch", at_least=0)
    threads: int = option(0, "threads of torch; 0: as torch is set", at_least=0, at_most=1024)
    seed: int = option(
        0, "of the split, the initial weights, the batches and the dropouts", at_least=0, at_most=2**31
    )


@dataclass(frozen=True)
class ProbeOptions(Options):
    """Looks inside the network while it is trained; they change no bit of it."""

    write: Literal["none", "csv", "tensorboard"] = option(
        "none", "what the probes are written to: a CSV file, or TensorBoard (extra: tensorboard)"
    )
    every: int = option(100, "steps of training from one look to the next", at_least=1)
    rows: int = option(8, "rows of the batch that a look reads once more", at_least=1)
