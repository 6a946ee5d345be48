"""A saved model is a directory; this file writes it whole or not at all, and reads it with suspicion.

The specification is docs/format.md; the limits are in limits.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import ModelFileError
from holdfast.model_file import strict_json
from holdfast.model_file.limits import (
    FORMAT_NAME,
    FORMAT_VERSION,
    MAX_CONFIG_BYTES,
    PICTURE_FILES,
    TASKS,
    TEXT_FILES,
)
from holdfast.model_file.replace import whole_directory
from holdfast.model_file.safe_open import (
    check_directory,
    check_size,
    open_inside,
    read_text,
    reason,
    resolved,
)
from holdfast.model_file.strict_json import shown
from holdfast.model_file.tensors import load_tensors, read_header, write_tensors

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
_ALL_FILES = {CONFIG_FILE, TENSOR_FILE, *TEXT_FILES, *PICTURE_FILES}
_RESERVED_KEYS = ("format", "format_version")


@dataclass(frozen=True)
class Bundle:
    """A saved model in memory.

    Attributes:
        config: what config.json says, without the name and version of the format.
        tensors: the arrays by name.
        files: the other text files that were there, by name.
        path: where it was read from, for messages.
    """

    config: dict[str, Any]
    tensors: dict[str, np.ndarray[Any, Any]]
    files: dict[str, str]
    path: Path


def save_bundle(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray[Any, Any]],
    files: Mapping[str, str | bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model; afterwards `path` holds all of it, or what it held before.

    The files are written and synchronised in a hidden directory beside `path`, which then takes its
    name. Equal arguments give equal bytes.

    Args:
        path: the directory to make; missing parents are made too.
        config: what belongs to config.json: at least `"task"`; strings, numbers, lists and dicts.
        tensors: the arrays by name; number types of limits.ITEM_BYTES, all finite.
        files: the contents of other files, by a name of limits.TEXT_FILES or limits.PICTURE_FILES.
        overwrite: whether a holdfast model already at `path` is replaced. Anything else there never is.

    Returns:
        The directory, as a path without symbolic links.

    Raises:
        ModelFileError: `path` is taken, something in the model could not be loaded again, or the
            operating system refused.
    """
    shown_path = Path(path)
    target = resolved(shown_path)
    contents = _encoded(config, files or {}, shown_path)
    check_target(path, overwrite=overwrite)
    try:
        with whole_directory(target) as directory:
            for name, data in contents.items():
                (directory / name).write_bytes(data)
            with (directory / TENSOR_FILE).open("wb") as file:
                write_tensors(file, tensors, f"{shown_path}/{TENSOR_FILE}")
    except OSError as error:
        raise ModelFileError(f"{shown_path}: the model cannot be written: {reason(error)}") from None
    return target


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse a place where `save_bundle` would refuse to write; call it before hours of training.

    Args:
        path: where the model is to be saved.
        overwrite: whether a holdfast model that is already there may be replaced.

    Raises:
        ModelFileError: something is there that must not be replaced.
    """
    shown_path = Path(path)
    target = resolved(shown_path)
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise ModelFileError(f"{shown_path} is a file; give a directory to save the model in")
    present = {entry.name for entry in target.iterdir()}
    if not present:
        return
    if not _is_model(target):
        raise ModelFileError(
            f"{shown_path} is a directory with other content ({shown(min(present))}); "
            "nothing there is touched: give a new or empty directory"
        )
    if not overwrite:
        raise ModelFileError(
            f"{shown_path} already holds a holdfast model; allow overwriting or give another directory"
        )
    if present - _ALL_FILES:
        raise ModelFileError(
            f"{shown_path} holds a model and also {shown(min(present - _ALL_FILES))}, "
            "which overwriting would delete: move it away first"
        )


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a model that may be damaged or hostile; no declared size is believed unchecked.

    Args:
        path: the directory of the model.

    Returns:
        The model. Its tensors' shapes are not compared with its config: see `expect_tensors`.

    Raises:
        ModelFileError: what is wrong, in which file, and what to do.
    """
    directory = Path(path)
    check_directory(directory)
    config = _read_config(directory)
    files = {}
    for name, limit in TEXT_FILES.items():
        if os.path.lexists(directory / name):
            files[name] = read_text(directory, name, limit)
            _check_text(name, files[name], f"{directory}/{name}")
    source = f"{directory}/{TENSOR_FILE}"
    with open_inside(directory, TENSOR_FILE) as file:
        read_header(file, source)
    arrays = load_tensors(directory / TENSOR_FILE, source)
    return Bundle(config, arrays, files, directory)


def expect_tensors(bundle: Bundle, shapes: Mapping[str, tuple[int, ...]], *, prefix: str = "") -> None:
    """Refuse a model whose tensors are not exactly those that its config implies.

    Args:
        bundle: the model.
        shapes: the shape of every tensor it must have, by name.
        prefix: tensors whose names begin otherwise belong to another part of the model and are left alone.

    Raises:
        ModelFileError: the first tensor that is missing, of another shape, or not expected.
    """
    source = f"{bundle.path}/{TENSOR_FILE}"
    advice = f"{CONFIG_FILE} and {TENSOR_FILE} do not belong together; take a fresh copy of the model"
    for name, shape in shapes.items():
        if name not in bundle.tensors:
            raise ModelFileError(f"{source} lacks the tensor {shown(name)} of shape {list(shape)}: {advice}")
        found = bundle.tensors[name].shape
        if found != tuple(shape):
            raise ModelFileError(
                f"{source}: the tensor {shown(name)} has the shape {list(found)}, "
                f"but {CONFIG_FILE} implies {list(shape)}: {advice}"
            )
    unexpected = sorted(name for name in bundle.tensors if name.startswith(prefix) and name not in shapes)
    if unexpected:
        raise ModelFileError(f"{source} has the tensor {shown(unexpected[0])}, which nothing needs: {advice}")


def _encoded(config: Mapping[str, Any], files: Mapping[str, str | bytes], path: Path) -> dict[str, bytes]:
    for key in _RESERVED_KEYS:
        if key in config:
            raise ModelFileError(f"{path}/{CONFIG_FILE}: the key {key!r} is written by the format itself")
    text = strict_json.dump({**config, "format": FORMAT_NAME, "format_version": FORMAT_VERSION})
    _check_config(strict_json.parse(text, f"{path}/{CONFIG_FILE}"), f"{path}/{CONFIG_FILE}")
    contents = {CONFIG_FILE: text.encode("utf-8")}
    check_size(len(contents[CONFIG_FILE]), MAX_CONFIG_BYTES, f"{path}/{CONFIG_FILE}")
    for name, content in files.items():
        limit = {**TEXT_FILES, **PICTURE_FILES}.get(name)
        if limit is None:
            raise ModelFileError(
                f"{path}: a model has no file {shown(name)}; it has {', '.join(sorted(_ALL_FILES))}"
            )
        # a lone surrogate becomes bytes that are not UTF-8, and is refused below
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        check_size(len(data), limit, f"{path}/{name}")
        if name in TEXT_FILES:
            _check_text(name, strict_json.decode(data, f"{path}/{name}"), f"{path}/{name}")
        contents[name] = data
    return contents


def _read_config(directory: Path) -> dict[str, Any]:
    source = f"{directory}/{CONFIG_FILE}"
    if not os.path.lexists(directory / CONFIG_FILE):
        raise ModelFileError(
            f"{directory} has no {CONFIG_FILE}: it is not a holdfast model; give a model's directory"
        )
    value = strict_json.parse(read_text(directory, CONFIG_FILE, MAX_CONFIG_BYTES), source)
    _check_config(value, source)
    return {key: item for key, item in value.items() if key not in _RESERVED_KEYS}


def _check_config(value: Any, source: str) -> None:
    if not isinstance(value, dict) or value.get("format") != FORMAT_NAME:
        raise ModelFileError(f'{source} does not say "format": "{FORMAT_NAME}": this is not a holdfast model')
    version = value.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFileError(
            f"{source}: format_version is {shown(version)}; it must be a whole number from 1"
        )
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{source}: format_version is {shown(version)}, and this holdfast reads up to {FORMAT_VERSION}: "
            "the model was saved by a newer holdfast; pip install --upgrade holdfast"
        )
    task = value.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise ModelFileError(
            f"{source}: the task is {shown(task)}, and this holdfast knows {', '.join(TASKS)}: "
            "the model is damaged or was saved by a newer holdfast; pip install --upgrade holdfast"
        )


def _check_text(name: str, text: str, source: str) -> None:
    if name == "metrics.json":
        strict_json.parse(text, source)
    elif name.endswith(".json"):
        strict_json.check_depth(text, source)  # whoever understands the file parses it


def _is_model(directory: Path) -> bool:
    try:
        value = strict_json.parse(read_text(directory, CONFIG_FILE, MAX_CONFIG_BYTES), CONFIG_FILE)
    except ModelFileError:
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT_NAME
