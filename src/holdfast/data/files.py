"""Files on disk: found, unpacked and decoded, or refused with the reason."""

from __future__ import annotations

import difflib
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import DataError

MAX_BYTES = 8 * 1024**3
_CHUNK_BYTES = 1 << 22

RowOf = Callable[[str], int]

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "export the sheet as CSV"),
    (b"\x1f\x8b", "gzip-compressed", "give it a name that ends in .gz"),
    (b"PAR1", "a Parquet file", "give it a name that ends in .parquet"),
    (b"%PDF", "a PDF document", "extract its text first"),
    (b"\x89PNG", "a PNG image", "give a file of texts"),
    (b"\xff\xd8\xff", "a JPEG image", "give a file of texts"),
    (b"GIF8", "a GIF image", "give a file of texts"),
    (b"BZh", "bzip2-compressed", "unpack it first"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x7fELF", "a program", "give a file of texts"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
)


def find(path: Path) -> Path:
    """The path, if something is there.

    Raises:
        DataError: it does not exist, with the nearest name that does; or it is an address on the web.
    """
    if "://" in str(path) or str(path).startswith(("http:/", "https:/", "s3:/")):
        raise DataError(f"{path}: is an address, not a file: download it first and give the path")
    try:
        if path.exists():
            return path
        if not path.parent.is_dir():
            raise DataError(f"{path}: does not exist, nor does the folder {str(path.parent)!r}")
        names = sorted(entry.name for entry in path.parent.iterdir())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be looked up: {_reason(error)}") from None
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    hint = f" Did you mean {str(path.parent / near[0])!r}?" if near else ""
    raise DataError(f"{path}: does not exist.{hint}")


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in .gz.

    Raises:
        DataError: it cannot be read, is empty, is too large, or is not the gzip file its name promises.
    """
    content = first_bytes(path, MAX_BYTES + 1)
    if path.suffix.lower() == ".gz":
        content = _unpack(path, content)
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: has more than {MAX_BYTES / 1024**3:.0f} GiB; give it in smaller parts")
    if not content:
        raise DataError(f"{path}: is empty; expected a table with a header line or one record per line")
    return content


def first_bytes(path: Path, count: int) -> bytes:
    """At most `count` bytes from the start of a file, as they are.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None


def decode(path: Path, content: bytes, encoding: str | None, row_of: RowOf) -> tuple[str, list[str]]:
    """The text of a file and what was assumed to read it.

    Args:
        path: of the file, for messages.
        content: its bytes.
        encoding: the name of the encoding; None: UTF-8, or UTF-16 when the file starts with its mark.
        row_of: the number of the row in which a text ends, to say where the first wrong byte stands.

    Raises:
        DataError: the bytes are not text in that encoding; says the row, the byte and the likely encoding.
    """
    refuse_binary(path, content)
    notes = []
    if encoding is None:
        encoding = "utf-8-sig"
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            encoding = "utf-16"
            notes.append("read as UTF-16, as the mark at its start says")
    try:
        text = content.decode(encoding)
    except LookupError:
        raise DataError(f"{path}: unknown encoding {encoding!r}; try utf-8, cp1252 or latin-1") from None
    except UnicodeError as error:
        raise DataError(_decoding_message(path, content, encoding, error, row_of)) from None
    nul = text.find("\0")
    if nul >= 0:
        raise DataError(
            f"{path}, row {row_of(text[:nul])}: has a NUL character, which text does not; "
            f"{_nul_advice(content)}"
        )
    return text, notes


def line_number(text: str) -> int:
    """The number of the line in which the text ends, counted from 1."""
    return text.count("\n") + 1


def refuse_binary(path: Path, content: bytes) -> None:
    """Refuses content that starts like a well-known binary format.

    Raises:
        DataError: says which format it is, and what to do.
    """
    for signature, kind, advice in _SIGNATURES:
        if content.startswith(signature):
            raise DataError(f"{path}: is {kind}, not text: {advice}")


def likely_encoding(content: bytes) -> str | None:
    """The encoding to try next for bytes that are not UTF-8, or None."""
    sample = content[: 1 << 20]
    if sample.count(0) > len(sample) // 4:
        return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    for encoding in ("cp1252", "latin-1"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return None


def _unpack(path: Path, content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        raise DataError(
            f"{path}: is named .gz but is not gzip-compressed; name it {path.with_suffix('').name!r}, or "
            "pack it with gzip"
        )
    try:
        parts, size = [], 0
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while size <= MAX_BYTES and (part := file.read(_CHUNK_BYTES)):
                parts.append(part)
                size += len(part)
    except EOFError:
        raise DataError(f"{path}: the gzip file is cut off; copy or download it again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}); copy or download it again") from None
    return b"".join(parts)


def _decoding_message(path: Path, content: bytes, encoding: str, error: UnicodeError, row_of: RowOf) -> str:
    name = "UTF-8" if encoding == "utf-8-sig" else encoding
    if not isinstance(error, UnicodeDecodeError):
        return f"{path}: is not {name} text: {error}"
    # The decoder counts from after the mark.
    at = error.start + (len(content) - len(error.object))
    row = row_of(content[:at].decode(encoding, "replace"))
    likely = likely_encoding(content) if name == "UTF-8" else None
    advice = f"it is likely {likely}: give encoding={likely!r}," if likely else "give its encoding,"
    return (
        f"{path}, row {row}: byte {at} of the file (0x{content[at]:02x}) is not {name} text; {advice} or "
        "save it as UTF-8"
    )


def _nul_advice(content: bytes) -> str:
    likely = likely_encoding(content)
    if likely is not None and likely.startswith("utf-16"):
        return f"it is likely {likely}: give encoding={likely!r}, or save it as UTF-8"
    return "the file is binary or damaged"


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
