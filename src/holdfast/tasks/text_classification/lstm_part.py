"""The LSTM part: from token ids and labels to a trained network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from holdfast.data.batches import length_batches, pad, sequential_batches
from holdfast.features.ngrams import decisions
from holdfast.features.word_vectors import start_vectors
from holdfast.inspection.advice import Advice
from holdfast.nn.network import TextNetwork
from holdfast.tasks.text_classification.options import TextClassificationOptions
from holdfast.training.advice import advice_after
from holdfast.training.history import EpochRow
from holdfast.training.loop import Problem, fit
from holdfast.training.mixing import choose_mixture, log_loss
from holdfast.training.probes import Probe
from holdfast.training.progress import Listener

Array = NDArray[np.float64]
PREDICTION_BATCH = 128
PREDICTION_TOKENS = 32_768
ROWS_NAMED = 8
FAST_BACKEND = "native: chosen"


class Encoded(NamedTuple):
    """Texts as token ids, their targets, and how to call each in a message."""

    sequences: Sequence[NDArray[np.int32]]
    targets: NDArray[Any]
    names: Sequence[str]


class Watch(NamedTuple):
    """Where training keeps its checkpoint, whether it goes on from it, who is told, and who looks inside."""

    checkpoint: Path | None
    resume: bool
    listener: Listener
    probe: Probe | None = None


class TrainedNetwork(NamedTuple):
    """A trained network, the history of its epochs, and advice about both."""

    network: TextNetwork
    history: list[EpochRow]
    advice: list[Advice]


def new_network(vocabulary: int, classes: int, options: TextClassificationOptions) -> TextNetwork:
    """A network whose first weights the seed decides; torch's random generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.training.seed)
        return TextNetwork(vocabulary, classes, options.network)


def train_network(
    train: Encoded, valid: Encoded, vocabulary: int, options: TextClassificationOptions, watch: Watch
) -> TrainedNetwork:
    """Train a network until validation stops improving.

    Args:
        train: the rows to learn from.
        valid: the rows that choose the epoch.
        vocabulary: number of token ids.
        options: everything that can be chosen.
        watch: checkpoint, listener and probe.

    Returns:
        The network with the best averaged weights, one row per epoch, and what to try.
    """
    classes = train.targets.shape[1] if train.targets.ndim == 2 else int(train.targets.max()) + 1
    network = new_network(vocabulary, classes, options)
    if options.parts.start_vectors and not watch.resume:
        decided = decisions(train.targets, classes)
        vectors = start_vectors(train.sequences, decided, vocabulary, options.network.embedding)
        network.embedding.start_from(torch.from_numpy(vectors))
    backends = network.encoder.explain().splitlines()
    if not backends[0].startswith(FAST_BACKEND):
        watch.listener.message("a slower backend runs this network: " + "; ".join(backends))
    lengths = [len(sequence) for sequence in train.sequences]
    settings = options.training
    targets = torch.from_numpy(train.targets)

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        return length_batches(
            lengths,
            batch_size=settings.batch_size,
            seed=settings.seed,
            epoch=epoch,
            max_tokens=settings.batch_tokens,
        )

    def loss(rows: NDArray[np.int64]) -> torch.Tensor:
        logits = network(*time_major([train.sequences[row] for row in rows]))
        wanted = targets[torch.from_numpy(rows)]
        if wanted.ndim == 2:
            return functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype))
        return functional.cross_entropy(logits, wanted)

    def validate() -> tuple[float, float]:
        return validation(log_odds(network, valid.sequences), valid.targets)

    def name_rows(rows: NDArray[np.int64]) -> str:
        named = ", ".join(train.names[row] for row in rows[:ROWS_NAMED])
        return named + (f" and {len(rows) - ROWS_NAMED} more rows" if len(rows) > ROWS_NAMED else "")

    problem = Problem(batches, loss, validate, name_rows, _identity(train, valid, options))
    with torch_threads(settings.threads):
        history = fit(
            network,
            problem,
            settings,
            checkpoint=watch.checkpoint,
            resume=watch.resume,
            listener=watch.listener,
            probe=watch.probe,
        )
        advice = advice_after(network, loss, batches(0)[-1], history, settings)
    for one in advice:
        watch.listener.message(f"advice: {one.text}")
    return TrainedNetwork(network, history, advice)


def _identity(train: Encoded, valid: Encoded, options: TextClassificationOptions) -> str:
    digest = hashlib.sha256(repr((options.network, options.parts, options.tokens)).encode())
    for side in (train, valid):
        digest.update(side.targets.tobytes())
        for sequence in side.sequences:
            digest.update(sequence.tobytes() + b"|")
    return digest.hexdigest()[:16]


def validation(odds: Array, targets: NDArray[Any]) -> tuple[float, float]:
    """Log loss at the best temperature, and accuracy, of log odds `[N, K]`.

    The mixture sets the temperature afterwards, so an epoch is judged as it would be used.
    """
    multilabel = targets.ndim == 2
    right = ((odds >= 0) == targets).all(1) if multilabel else odds.argmax(1) == targets
    mixture = choose_mixture(odds, odds, targets, use=(False, True))
    return log_loss(mixture.apply(odds, odds), targets), float(right.mean())


@torch.no_grad()
def log_odds(network: TextNetwork, sequences: Sequence[NDArray[np.int32]]) -> Array:
    """Logits `[N, K]` of N sequences of token ids; the network is put into evaluation mode."""
    network.eval()
    result = np.zeros((len(sequences), network.head.out_features))
    if not len(sequences):
        return result
    lengths = [len(sequence) for sequence in sequences]
    for rows in sequential_batches(lengths, PREDICTION_BATCH, PREDICTION_TOKENS):
        result[rows] = network(*time_major([sequences[row] for row in rows])).double().numpy()
    return result


def time_major(sequences: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids `[T, B]` and lengths `[B]`, int64, of B sequences."""
    tokens, lengths = pad(sequences)
    return torch.from_numpy(np.ascontiguousarray(tokens.T)), torch.from_numpy(lengths)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch with `count` threads within the block; 0 leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
