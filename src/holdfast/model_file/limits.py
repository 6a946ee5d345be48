"""The limits of the saved model, each with its reason; a test compares docs/format.md with them.

Every limit is checked against the real size of a file, or against the few bytes already read, before
memory is allocated for what the file declares.
"""

from __future__ import annotations

FORMAT_NAME = "holdfast-model"
FORMAT_VERSION = 1

MAX_CONFIG_BYTES = 1 << 20
"""config.json is read first and whole; real ones are a few kilobytes."""

MAX_METRICS_BYTES = 1 << 20
"""metrics.json: a few numbers per predictor and metric."""

MAX_TOKENIZER_BYTES = 64 << 20
"""tokenizer.json: 800,000 entries of 80 bytes."""

MAX_NGRAMS_BYTES = 512 << 20
"""ngrams.json: 16 million n-grams of 32 bytes."""

MAX_HISTORY_BYTES = 16 << 20
"""history.csv: 100,000 lines of 160 bytes."""

MAX_PROBES_BYTES = 64 << 20
"""probes.csv: 32,000 probes of 50 lines of 40 bytes; a larger one is left beside the model."""

MAX_CARD_BYTES = 1 << 20
"""README.md: a page."""

MAX_PICTURE_BYTES = 16 << 20
"""loss.png: written, never read back."""

MAX_HEADER_BYTES = 1 << 20
"""The JSON header of model.safetensors: 10,000 tensors of 100 bytes."""

MAX_TENSOR_BYTES = 4 << 30
"""All tensors together: a billion float32 weights."""

MAX_TENSORS = 10_000
"""A network of 100 layers has about 1,000."""

MAX_DIMENSIONS = 8
"""Weights have at most 4."""

MAX_NAME_CHARACTERS = 200
"""Names of tensors appear in messages."""

MAX_JSON_DEPTH = 32
"""Nesting deeper than this is no configuration; Python's reader would recurse once per level."""

TEXT_FILES = {
    "README.md": MAX_CARD_BYTES,
    "history.csv": MAX_HISTORY_BYTES,
    "metrics.json": MAX_METRICS_BYTES,
    "ngrams.json": MAX_NGRAMS_BYTES,
    "tokenizer.json": MAX_TOKENIZER_BYTES,
}
"""The optional text files of a model and the most bytes each may have."""

PICTURE_FILES = {"loss.png": MAX_PICTURE_BYTES, "probes.csv": MAX_PROBES_BYTES}
"""Optional files for people; a load does not open them."""

TASKS = ("text-classification",)
"""The tasks that this version can load."""

ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}
"""The number types a model may hold, by their safetensors name, and the bytes of one item."""
