"""Tensors in the safetensors layout: checked byte by byte before the library is allowed to load them.

8 bytes   the length N of the header, little-endian
N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, padded with spaces
the rest  the numbers, little-endian, row-major; the offsets count from here, without holes or overlaps
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from holdfast.errors import ModelFileError
from holdfast.model_file import strict_json
from holdfast.model_file.limits import (
    ITEM_BYTES,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_TENSOR_BYTES,
    MAX_TENSORS,
)
from holdfast.model_file.strict_json import shown

_DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_FRESH = "take a fresh copy of the model"


class Entry(NamedTuple):
    """One tensor as the header declares it; `begin` and `end` are bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, source: str) -> dict[str, Entry]:
    """Read and check the header against the real size of the file; allocates MAX_HEADER_BYTES at most.

    Args:
        file: the open file, at its beginning.
        source: what to call it in messages.

    Returns:
        Each tensor's entry, by name.

    Raises:
        ModelFileError: anything that docs/format.md does not allow.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if len(start) < 8:
        raise ModelFileError(f"{source} has {size} bytes and no header: it is cut short; {_FRESH}")
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{source} declares a header of {length:,} bytes, more than the {MAX_HEADER_BYTES:,} allowed: "
            f"it is damaged or not a safetensors file; {_FRESH}"
        )
    if 8 + length > size:
        raise ModelFileError(
            f"{source} declares a header of {length:,} bytes but has only {size - 8:,} after its first 8: "
            f"it is cut short; {_FRESH}"
        )
    text = strict_json.decode(file.read(length), source)
    return _check_header(strict_json.parse(text, source), size - 8 - length, source)


def load_tensors(path: Path, source: str) -> dict[str, np.ndarray[Any, Any]]:
    """Load a file whose header `read_header` accepted, and refuse numbers that are not finite."""
    tensors = {}
    try:
        with safe_open(path, framework="numpy") as opened:
            for name in sorted(opened.keys()):
                tensors[name] = opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{source} cannot be read ({shown(str(error))}); {_FRESH}") from None
    for name, tensor in tensors.items():
        check_finite(name, tensor, source)
    return tensors


def write_tensors(file: BinaryIO, tensors: Mapping[str, np.ndarray[Any, Any]], source: str) -> None:
    """Write `tensors` so that equal tensors give equal bytes: widest items first, then by name.

    The order is that of the safetensors library (which keeps every tensor aligned), and so are the bytes;
    they are written here because golden bytes must not change with the library's version.
    """
    arrays = {name: _storable(name, tensor, source) for name, tensor in tensors.items()}
    order = sorted(arrays, key=lambda name: (-_rank(arrays[name].dtype), name))
    header: dict[str, Any] = {}
    begin = 0
    for name in order:
        array = arrays[name]
        end = begin + array.nbytes
        dtype = _NAMES[array.dtype]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    _check_header(header, begin, source)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{source} would need a header of {len(text):,} bytes; {MAX_HEADER_BYTES:,} are allowed"
        )
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        file.write(arrays[name].reshape(-1).data)


def check_finite(name: str, tensor: np.ndarray[Any, Any], source: str) -> None:
    """Refuse NaN and infinity; minimum and maximum carry both, so nothing is allocated."""
    if (
        tensor.dtype.kind == "f"
        and tensor.size
        and not (np.isfinite(tensor.min()) and np.isfinite(tensor.max()))
    ):
        raise ModelFileError(
            f"{source}: the tensor {shown(name)} holds numbers that are not finite (NaN or infinity): "
            "its training diverged or the file is damaged; train again or take a fresh copy"
        )


def _rank(dtype: np.dtype[Any]) -> int:
    return list(_DTYPES).index(_NAMES[dtype])


def _storable(name: str, tensor: np.ndarray[Any, Any], source: str) -> np.ndarray[Any, Any]:
    array = np.asarray(tensor)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        raise ModelFileError(
            f"{source}: the tensor {shown(name)} has the type {array.dtype}; "
            f"a model holds {', '.join(_DTYPES)}"
        )
    check_finite(name, array, source)
    return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)


def _check_header(header: Any, data_bytes: int, source: str) -> dict[str, Entry]:
    if not isinstance(header, dict):
        raise ModelFileError(f"{source}: the header is no JSON object; {_FRESH}")
    if data_bytes > MAX_TENSOR_BYTES:
        raise ModelFileError(
            f"{source} holds {data_bytes:,} bytes of numbers; at most {MAX_TENSOR_BYTES:,} are read"
        )
    fields = {name: value for name, value in header.items() if name != "__metadata__"}
    _check_metadata(header.get("__metadata__", {}), source)
    if len(fields) > MAX_TENSORS:
        raise ModelFileError(f"{source} declares {len(fields):,} tensors; at most {MAX_TENSORS:,} are read")
    entries = {name: _check_entry(name, value, source) for name, value in fields.items()}
    _check_cover(entries, data_bytes, source)
    return entries


def _check_metadata(metadata: Any, source: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFileError(f"{source}: __metadata__ must map strings to strings; {_FRESH}")


def _check_entry(name: str, value: Any, source: str) -> Entry:
    where = f"{source}: the tensor {shown(name)}"
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise ModelFileError(
            f"{where} has a name that is empty, unprintable or over {MAX_NAME_CHARACTERS} characters"
        )
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{where} must be described by dtype, shape and data_offsets; {_FRESH}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ModelFileError(f"{where} has the dtype {shown(dtype)}; a model holds {', '.join(ITEM_BYTES)}")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise ModelFileError(
            f"{where} has the shape {shown(shape)}; at most {MAX_DIMENSIONS} whole numbers are allowed"
        )
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise ModelFileError(f"{where} has the data_offsets {shown(offsets)}; two whole numbers are needed")
    needed = math.prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != needed:
        raise ModelFileError(
            f"{where} of shape {shown(shape)} and dtype {dtype} needs {needed:,} bytes, "
            f"but its data_offsets hold {offsets[1] - offsets[0]:,}: the file is damaged; {_FRESH}"
        )
    return Entry(dtype, tuple(shape), offsets[0], offsets[1])


def _whole_numbers(value: Any) -> bool:
    # A size over 2**63 cannot be meant, and Python's long products of such sizes take time.
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _check_cover(entries: Mapping[str, Entry], data_bytes: int, source: str) -> None:
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            what = "overlaps the tensor before it" if entry.begin < position else "leaves a hole before it"
            raise ModelFileError(
                f"{source}: the tensor {shown(name)} begins at byte {entry.begin:,} and {what}, "
                f"which ends at byte {position:,}; {_FRESH}"
            )
        position = entry.end
    if position > data_bytes:
        raise ModelFileError(
            f"{source} declares {position:,} bytes of numbers but holds only {data_bytes:,}: "
            f"it is cut short; {_FRESH}"
        )
    if position < data_bytes:
        raise ModelFileError(
            f"{source} holds {data_bytes - position:,} bytes that belong to no tensor: "
            f"it is damaged; {_FRESH}"
        )
