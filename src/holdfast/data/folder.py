"""A folder with one sub-folder of .txt files per class."""

from __future__ import annotations

from pathlib import Path

from holdfast.data import files
from holdfast.data.raw import RawTable
from holdfast.errors import DataError

_SPLITS = {"train", "training", "test", "valid", "validation", "val", "dev"}


def read_folder(path: Path, encoding: str | None, need_labels: bool) -> RawTable:
    """Reads `path/<class>/*.txt`, in order of name; without labels, `path/*.txt` as well.

    Raises:
        DataError: there are no class folders, one has no .txt files, or a file cannot be read.
    """
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        raise DataError(f"{path}: is a saved model, not data; give a file or a folder of texts")
    entries = sorted(entry for entry in _entries(path) if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if entry.suffix == ".txt" and entry.is_file()]
    if not need_labels and loose and not classes:
        return _table(path, [(file, None) for file in loose], encoding, ())
    _check_layout(path, classes, loose)
    found: list[tuple[Path, str | None]] = []
    for folder in classes:
        texts = sorted(entry for entry in _entries(folder) if entry.suffix == ".txt" and entry.is_file())
        if not texts:
            raise DataError(f"{folder}: has no .txt files; each sub-folder must hold the texts of one class")
        found += [(file, folder.name) for file in texts]
    ignored = len(entries) - len(classes)
    warnings = (f"{ignored} files beside the class folders were left out",) if ignored else ()
    return _table(path, found, encoding, warnings)


def _check_layout(path: Path, classes: list[Path], loose: list[Path]) -> None:
    splits = [folder.name for folder in classes if folder.name.lower() in _SPLITS]
    if splits and any(entry.is_dir() for folder in classes for entry in _entries(folder)):
        raise DataError(
            f"{path}: holds {', '.join(splits)}, which look like parts of the data, not classes; give one of "
            f"them, such as {str(path / splits[0])!r}"
        )
    if not classes:
        seen = f"{len(loose)} .txt files" if loose else "none"
        raise DataError(
            f"{path}: expected one sub-folder of .txt files per class, such as {path.name}/positive and "
            f"{path.name}/negative; found no sub-folders ({seen})"
        )


def _table(
    path: Path, found: list[tuple[Path, str | None]], encoding: str | None, warnings: tuple[str, ...]
) -> RawTable:
    texts: list[object] = []
    for file, _ in found:
        content = files.read_bytes(file) if file.stat().st_size else b""
        texts.append(files.decode(file, content, encoding, files.line_number)[0])
    labelled = found[0][1] is not None
    labels: list[object] = [label for _, label in found]
    return RawTable(
        str(path),
        ("text", "label") if labelled else ("text",),
        lambda position: labels if position else texts,
        range(1, len(found) + 1),
        places=[f"file {file.relative_to(path)}" for file, _ in found],
        warnings=warnings,
    )


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
