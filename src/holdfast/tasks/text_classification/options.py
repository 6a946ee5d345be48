"""Every option of text classification, with the defaults that validation on several data sets chose."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.features.tokens import TokenOptions
from holdfast.nn.network import NetworkOptions
from holdfast.options import Options, option
from holdfast.training.options import ProbeOptions, TrainingOptions


@dataclass(frozen=True)
class DataOptions(Options):
    """How the rows are read and split."""

    text: str | None = option(None, "column of the texts; null: guessed by its name")
    label: str | None = option(None, "column of the labels; null: guessed by its name")
    label_separator: str | None = option(None, "texts may have several labels, separated by this, such as |")
    encoding: str | None = option(None, "encoding of the files; null: UTF-8")
    valid_share: float = option(0.1, "of the training rows, for choosing", at_least=0.01, at_most=0.5)
    test_share: float = option(
        0.1, "of the rows, for the scores where no test file is given; 0: none", at_least=0, at_most=0.5
    )


@dataclass(frozen=True)
class PartOptions(Options):
    """The two parts of the model: the naive one, and the LSTM."""

    naive: bool = option(
        True, "fit the linear n-gram score and mix it in, at a weight that validation chooses"
    )
    lstm: bool = option(True, "train the LSTM")
    start_vectors: bool = option(
        True, "start token vectors from co-occurrence and class counts of the training rows"
    )


@dataclass(frozen=True)
class TextClassificationOptions(Options):
    """All groups of options of text classification."""

    data: DataOptions = DataOptions()
    tokens: TokenOptions = TokenOptions()
    parts: PartOptions = PartOptions()
    network: NetworkOptions = NetworkOptions()
    training: TrainingOptions = TrainingOptions()
    probes: ProbeOptions = ProbeOptions()
