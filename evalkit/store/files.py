"""Atomic writing: a reader sees either the whole new file or the whole old one."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path

from evalkit.core.errors import StoreError

__all__ = ["is_full", "sha256_of", "write_bytes", "write_file"]

_UMASK = os.umask(0)
os.umask(_UMASK)


def is_full(error: OSError) -> bool:
    """Return whether an error means that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_file(path: Path, data: bytes, option: str = "", by_way_of: Path | None = None) -> None:
    """Write a file whose path the user gave, atomically as ``write_bytes``.

    Args:
        path: path of the file; a link is followed.
        data: contents of the file.
        option: option that named the file, for the message, e.g. ``--output``.
        by_way_of: as in ``write_bytes``.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
            path.write_bytes(data)
        else:
            write_bytes(Path(os.path.realpath(path)), data, by_way_of)
    except OSError as error:
        what_next = "free some space and repeat the command" if is_full(error) else "name another file or folder"
        named = f"{option} '{path}'".strip()
        raise StoreError(f"{named} cannot be written: {error.strerror or error}; {what_next}") from error


def write_bytes(path: Path, data: bytes, by_way_of: Path | None = None) -> None:
    """Write a file under a temporary name, sync it, and rename it; create its folder if necessary.

    Args:
        path: path of the file.
        data: contents of the file.
        by_way_of: folder of the temporary file, on the same disk; None = the file's own folder.

    Raises:
        OSError: the file cannot be written; an existing file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _beside(path.parent if by_way_of is None else by_way_of, f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_UMASK)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _beside(folder: Path, prefix: str) -> tuple[int, str]:
    folder.mkdir(exist_ok=True)
    try:
        return tempfile.mkstemp(dir=folder, prefix=prefix)
    except FileNotFoundError:  # another process has just removed the folder
        folder.mkdir(exist_ok=True)
        return tempfile.mkstemp(dir=folder, prefix=prefix)


def sha256_of(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
