"""Damaged and hostile models: each is refused in one clear line, in little memory.

Every attack is a function that spoils a good model in place. Run this file with a
directory to have them all on disk, to try on another reader:

    python tests/attacks/test_model_file.py /tmp/hostile
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import ModelFileError
from holdfast.model_file.format import load_bundle, save_bundle

Attack = Callable[[Path], None]
ATTACKS: dict[str, tuple[Attack, str]] = {}
WEIGHTS = {"a": np.zeros((2, 3), dtype=np.float32), "b": np.ones(4, dtype=np.float32)}
HONEST = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
}


def attack(message: str) -> Callable[[Attack], Attack]:
    """Register an attack with the words that its refusal must contain."""

    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (function, message)
        return function

    return register


def good_model(path: Path) -> Path:
    files = {"tokenizer.json": "{}", "metrics.json": "{}", "history.csv": "epoch\n", "README.md": "#\n"}
    return save_bundle(path, config={"task": "text-classification"}, tensors=WEIGHTS, files=files)


def write_tensors(model: Path, header: Any, data: bytes = bytes(40), length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length is None else length)
    (model / "model.safetensors").write_bytes(start + text + data)


def change(model: Path, name: str, **fields: Any) -> None:
    """Write the honest header with some fields of one tensor changed."""
    write_tensors(model, {**HONEST, name: {**HONEST[name], **fields}})


def change_config(model: Path, **fields: Any) -> None:
    value = {"format": "holdfast-model", "format_version": 1, "task": "text-classification", **fields}
    (model / "config.json").write_text(json.dumps(value), encoding="utf-8")


@attack("has 0 bytes and no header: it is cut short")
def empty_tensor_file(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"")


@attack("cut short")
def tensor_file_cut_in_its_header(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


@attack("declares 40 bytes of numbers but holds only 39: it is cut short")
def tensor_file_cut_in_its_numbers(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@attack("holds 1 bytes that belong to no tensor")
def tensor_file_with_a_tail(model: Path) -> None:
    write_tensors(model, HONEST, bytes(41))


@attack("declares a header of 18,446,744,073,709,551,615 bytes")
def header_of_2_to_the_64_bytes(model: Path) -> None:
    write_tensors(model, HONEST, length=2**64 - 1)


@attack("declares a header of 1,000,000 bytes but has only")
def header_beyond_the_file(model: Path) -> None:
    write_tensors(model, HONEST, length=1_000_000)


@attack("declares 40,000,000,000,024 bytes of numbers but holds only 40")
def huge_tensor(model: Path) -> None:
    change(model, "b", shape=[10**13], data_offsets=[24, 24 + 4 * 10**13])


@attack("needs 40,000,000,000,000 bytes, but its data_offsets hold 16")
def huge_shape_small_offsets(model: Path) -> None:
    change(model, "b", shape=[10**13])


@attack("but its data_offsets hold 16")
def shape_that_overflows_64_bits_to_its_size(model: Path) -> None:
    change(model, "b", shape=[2**62, 2, 2])


@attack("at most 8 whole numbers")
def shape_with_a_number_of_100_digits(model: Path) -> None:
    change(model, "b", shape=[10**100])


@attack("holds 5,368,709,120 bytes of numbers; at most 4,294,967,296 are read")
def five_gigabytes_in_a_sparse_file(model: Path) -> None:
    write_tensors(model, {"a": {"dtype": "U8", "shape": [5 << 30], "data_offsets": [0, 5 << 30]}}, b"")
    path = model / "model.safetensors"
    os.truncate(path, path.stat().st_size + (5 << 30))


@attack("overlaps the tensor before it")
def overlapping_tensors(model: Path) -> None:
    write_tensors(model, {**HONEST, "b": {**HONEST["b"], "data_offsets": [8, 24]}}, bytes(24))


@attack("leaves a hole before it")
def hole_between_tensors(model: Path) -> None:
    write_tensors(model, {**HONEST, "b": {**HONEST["b"], "data_offsets": [32, 48]}}, bytes(48))


@attack("two whole numbers are needed")
def negative_offsets(model: Path) -> None:
    change(model, "a", data_offsets=[-24, 0])


@attack("its data_offsets hold -24")
def offsets_in_reverse(model: Path) -> None:
    change(model, "a", data_offsets=[24, 0])


@attack("two whole numbers are needed")
def three_offsets(model: Path) -> None:
    change(model, "a", data_offsets=[0, 24, 24])


@attack("at most 8 whole numbers")
def fractional_shape(model: Path) -> None:
    change(model, "a", shape=[2.0, 3])


@attack("at most 8 whole numbers")
def boolean_shape(model: Path) -> None:
    change(model, "a", shape=[True, 6])


@attack("at most 8 whole numbers")
def shape_of_nine_axes(model: Path) -> None:
    change(model, "a", shape=[1] * 7 + [2, 3])


@attack("has the dtype 'F8_E4M3'; a model holds BOOL, U8")
def unknown_dtype(model: Path) -> None:
    change(model, "a", dtype="F8_E4M3", shape=[24])


@attack("has the dtype \\['F32'\\]")
def dtype_that_is_a_list(model: Path) -> None:
    change(model, "a", dtype=["F32"])


@attack("described by dtype, shape and data_offsets")
def tensor_with_an_extra_field(model: Path) -> None:
    change(model, "a", execute="rm -rf /")


@attack("described by dtype, shape and data_offsets")
def tensor_that_is_a_number(model: Path) -> None:
    write_tensors(model, {"a": 3})


@attack("header is no JSON object")
def header_that_is_a_list(model: Path) -> None:
    write_tensors(model, [1, 2])


@attack("not valid JSON")
def header_that_is_no_json(model: Path) -> None:
    write_tensors(model, b"not json at all ")


@attack("not UTF-8 text \\(byte 2 is 0xff\\)")
def header_that_is_no_text(model: Path) -> None:
    write_tensors(model, b'{"\xff": 1}')


@attack("key 'a' appears twice")
def header_with_a_repeated_tensor(model: Path) -> None:
    entry = json.dumps(HONEST["a"])
    write_tensors(model, f'{{"a": {entry}, "a": {entry}}}'.encode(), bytes(24))


@attack("nested more than 32 levels")
def header_of_nested_lists(model: Path) -> None:
    write_tensors(model, b'{"a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}")


@attack("declares 10,001 tensors; at most 10,000")
def header_of_many_empty_tensors(model: Path) -> None:
    write_tensors(
        model, {str(n): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(10_001)}, b""
    )


@attack("__metadata__ must map strings to strings")
def metadata_that_is_a_list(model: Path) -> None:
    write_tensors(model, {**HONEST, "__metadata__": [1]})


@attack("the tensor '\\\\x1b")
def tensor_name_that_writes_to_the_terminal(model: Path) -> None:
    write_tensors(model, {"\x1b[2J\nowned": HONEST["a"]}, bytes(24))


@attack("over 200 characters")
def tensor_name_of_a_page(model: Path) -> None:
    write_tensors(model, {"x" * 5000: HONEST["a"]}, bytes(24))


@attack("'b' holds numbers that are not finite")
def weights_of_nan(model: Path) -> None:
    write_tensors(model, HONEST, bytes(24) + np.full(4, np.nan, dtype="<f4").tobytes())


@attack("'b' holds numbers that are not finite")
def one_infinite_weight(model: Path) -> None:
    write_tensors(model, HONEST, bytes(24) + np.array([0, 1, -np.inf, 0], dtype="<f4").tobytes())


@attack("no config.json: it is not a holdfast model")
def missing_config(model: Path) -> None:
    (model / "config.json").unlink()


@attack("model.safetensors is missing: the model is incomplete")
def missing_tensors(model: Path) -> None:
    (model / "model.safetensors").unlink()


@attack("not valid JSON")
def empty_config(model: Path) -> None:
    (model / "config.json").write_bytes(b"")


@attack("config.json is not UTF-8 text")
def binary_config(model: Path) -> None:
    (model / "config.json").write_bytes(bytes(range(256)))


@attack("config.json has 1,048,578 bytes and at most 1,048,576 are allowed")
def oversized_config(model: Path) -> None:
    (model / "config.json").write_text('"' + "a" * (1 << 20) + '"', encoding="utf-8")


@attack("config.json has 1,099,511,627,776 bytes")
def config_of_a_terabyte(model: Path) -> None:
    os.truncate(model / "config.json", 1 << 40)


@attack("nested more than 32 levels deep")
def config_of_nested_objects(model: Path) -> None:
    (model / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000, encoding="utf-8")


@attack("not valid JSON")
def config_of_unclosed_quotes(model: Path) -> None:
    (model / "config.json").write_text('"' + '\\"' * 500_000, encoding="utf-8")


@attack("the key 'task' appears twice")
def config_with_a_repeated_key(model: Path) -> None:
    text = '{"format": "holdfast-model", "format_version": 1, "task": "text-classification", "task": "x"}'
    (model / "config.json").write_text(text, encoding="utf-8")


@attack("NaN is not a JSON number")
def config_with_nan(model: Path) -> None:
    change_config(model, dropout=float("nan"))


@attack("the number '1e999' is too large")
def config_with_a_number_beyond_float(model: Path) -> None:
    text = '{"format": "holdfast-model", "format_version": 1, "task": "text-classification", "x": 1e999}'
    (model / "config.json").write_text(text, encoding="utf-8")


@attack("whole number has thousands of digits")
def config_with_a_number_of_many_digits(model: Path) -> None:
    text = '{"format": "holdfast-model", "x": ' + "9" * 100_000 + "}"
    (model / "config.json").write_text(text, encoding="utf-8")


@attack("half of a surrogate pair")
def config_with_half_a_character(model: Path) -> None:
    change_config(model, note="\ud800")


@attack('does not say "format": "holdfast-model"')
def config_that_is_a_list(model: Path) -> None:
    (model / "config.json").write_text("[]", encoding="utf-8")


@attack('does not say "format": "holdfast-model"')
def config_of_another_program(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")


@attack("format_version is 2, and this holdfast reads up to 1: .*pip install --upgrade holdfast")
def newer_version(model: Path) -> None:
    change_config(model, format_version=2)


@attack("format_version is True; it must be a whole number from 1")
def boolean_version(model: Path) -> None:
    change_config(model, format_version=True)


@attack("format_version is '1'; it must be a whole number from 1")
def version_that_is_text(model: Path) -> None:
    change_config(model, format_version="1")


@attack("the task is '../../etc', and this holdfast knows text-classification")
def unknown_task(model: Path) -> None:
    change_config(model, task="../../etc")


@attack("the task is \\{\\}")
def task_that_is_an_object(model: Path) -> None:
    change_config(model, task={})


@attack("model.safetensors is a symbolic link")
def tensors_linked_from_outside(model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "outside.safetensors")
    (model / "model.safetensors").symlink_to(model.parent / "outside.safetensors")


@attack("README.md is a symbolic link")
def card_linked_to_a_secret(model: Path) -> None:
    (model / "README.md").unlink()
    (model / "README.md").symlink_to("/etc/passwd")


@attack("tokenizer.json is a symbolic link")
def dangling_link(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json").symlink_to("nowhere")


@attack("tokenizer.json is not a regular file")
def tokenizer_that_is_a_directory(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json").mkdir()


@attack("metrics.json is not a regular file")
def pipe_that_never_ends(model: Path) -> None:
    (model / "metrics.json").unlink()
    os.mkfifo(model / "metrics.json")


@attack("tokenizer.json is nested more than 32 levels deep")
def tokenizer_of_nested_lists(model: Path) -> None:
    (model / "tokenizer.json").write_text("[" * 1_000_000, encoding="utf-8")


@attack("metrics.json is not valid JSON .line 1, column 2")
def broken_metrics(model: Path) -> None:
    (model / "metrics.json").write_text("{accuracy: 1}", encoding="utf-8")


@attack("history.csv is not UTF-8 text")
def binary_history(model: Path) -> None:
    (model / "history.csv").write_bytes(b"epoch\n\x80\n")


@attack("is a file, and a holdfast model is a directory")
def directory_that_is_a_file(model: Path) -> None:
    remove(model)
    model.write_bytes(b"PK\x03\x04")


@attack("does not exist; give the directory of a saved model")
def nothing_there(model: Path) -> None:
    remove(model)


@attack("no config.json")
def empty_directory(model: Path) -> None:
    remove(model)
    model.mkdir()


@attack("cannot be opened|does not exist")
def link_to_itself(model: Path) -> None:
    remove(model)
    model.symlink_to(model)


def remove(model: Path) -> None:
    for path in model.iterdir():
        path.unlink()
    model.rmdir()


@pytest.mark.skipif(os.name == "nt", reason="links, pipes and sparse files are those of POSIX")
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused_in_one_line_and_little_memory(tmp_path: Path, name: str) -> None:
    function, message = ATTACKS[name]
    model = good_model(tmp_path / "model")
    load_bundle(model)
    function(model)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=message) as caught:
            load_bundle(model)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert text.isprintable()
    assert str(model) in text
    assert len(text) < len(str(model)) + 300
    assert caught.value.__cause__ is None
    # the largest of these files that is read at all has a megabyte; parsing 10,000 entries takes about ten
    assert peak_bytes < 20 << 20


def test_a_small_model_takes_little_memory(tmp_path: Path) -> None:
    model = good_model(tmp_path / "model")
    load_bundle(model)
    tracemalloc.start()
    load_bundle(model)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20  # whatever the limits of its files are


def test_there_is_no_way_in_through_the_path(tmp_path: Path) -> None:
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(ModelFileError):
            load_bundle(tmp_path / name)
        with pytest.raises(ModelFileError):
            good_model(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_every_cut_and_every_changed_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    model = good_model(tmp_path / "model")
    path = model / "model.safetensors"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            load_bundle(model)
    header_bytes = len(whole) - 40
    for position in range(header_bytes):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(whole)
            changed[position] ^= flip
            path.write_bytes(changed)
            try:
                bundle = load_bundle(model)
            except ModelFileError:
                continue
            assert sum(tensor.nbytes for tensor in bundle.tensors.values()) == 40


if __name__ == "__main__":
    for attack_name, (spoil, _) in ATTACKS.items():
        spoil(good_model(Path(sys.argv[1]) / attack_name))
