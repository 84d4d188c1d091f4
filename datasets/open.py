"""From a path to a labelled image set: the reader is named, or chosen by what the path holds."""

from __future__ import annotations

from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import path_of
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.catalog import BUILT_IN, READERS
from evalkit.datasets.readers.lookalikes import FORMATS, file_looks

__all__ = ["open_image_set"]


def open_image_set(path: str | Path, data_format: str | None = None) -> ImageSet:
    """Open a built-in set, a folder of photos, or a file that lists photos; no photo is read.

    Args:
        path: ``scenes``, also with parameters, or a path; ``~`` is the home folder. A folder named scenes is
            ``./scenes``.
        data_format: one of ``reader_names()``; None recognizes the format.

    Raises:
        DataError: the path does not exist, has another format, or its reader refuses it.
        ConfigError: an unknown format.
    """
    if data_format is None and isinstance(path, str) and (name := _built_in(path)):
        return BUILT_IN.get(name).open(Path(path))
    reader = None if data_format is None else READERS.get(data_format)
    source = path_of(path)
    if not source.exists():
        built_in = ", ".join(f"'{name}'" for name in BUILT_IN.names())
        raise DataError(
            f"--data '{path}' does not exist; name a CSV manifest, or a folder with <class>/<image>, or another of "
            f"`list datasets`; {built_in} is built in"
        )
    if reader is not None:
        _require_kind(source, reader)
        return reader.open(source)
    if not source.is_file() and not source.is_dir():
        raise DataError(f"--data '{path}' is neither a file nor a folder; name one of `list datasets`")
    return _recognized(source).open(source)


def _built_in(data: str) -> str:
    """Return the name of the built-in set that the data name, ``name`` or ``name(key=value)``; empty if none."""
    name, parenthesis, _ = data.partition("(")
    name = name.strip() if parenthesis else data
    return name if name in BUILT_IN.names() else ""


def _require_kind(source: Path, reader: Reader) -> None:
    """Raise DataError if a named format is read from a file and the path is a folder, or the reverse."""
    kind = "folder" if source.is_dir() else "file"
    if kind not in reader.needs:
        raise DataError(
            f"--data '{source}' is a {kind}; --data-format {reader.name} takes a {reader.needs}; name one, or leave "
            "the option out"
        )


def _recognized(source: Path) -> Reader:
    """Return the first reader that recognizes the path, general ones last."""
    for reader in sorted(READERS, key=lambda reader: reader.general):
        if reader.recognize(source):
            return reader
    if look := file_looks(source):
        raise DataError(f"--data '{source}' looks like {look}. {FORMATS}")
    allowed = ", ".join(dict.fromkeys(" ".join(reader.data.split()) for reader in READERS))
    raise DataError(
        f"--data '{source}' has no format that is recognized; name one of `list datasets` ({allowed}), or name its "
        "format with --data-format"
    )
