"""Writing files so that a reader sees the whole of the new one or the whole of the old one."""

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
    """Tell whether it is space that is missing."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_file(path: Path, data: bytes, option: str = "", by_way_of: Path | None = None) -> None:
    """Write a file that somebody asked for, whole or not at all: see ``write_bytes``.

    Args:
        path: the file; a link is followed.
        data: its contents.
        option: that named it, e.g. ``--output``, for the message.
        by_way_of: as in ``write_bytes``.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to as it is
            path.write_bytes(data)
        else:
            write_bytes(Path(os.path.realpath(path)), data, by_way_of)
    except OSError as error:
        what_next = "free some space and repeat the command" if is_full(error) else "name another file or folder"
        named = f"{option} '{path}'".strip()
        raise StoreError(f"{named} cannot be written: {error.strerror or error}; {what_next}") from error


def write_bytes(path: Path, data: bytes, by_way_of: Path | None = None) -> None:
    """Write a file under a temporary name, sync it, and rename it into place; make its folder if need be.

    Args:
        path: the file.
        data: its contents.
        by_way_of: the folder of the temporary file, on the same disk; None = the file's own.

    Raises:
        OSError: it cannot be written; what stood there before still does.
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
    except FileNotFoundError:  # another process, done with the folder, has just removed it
        folder.mkdir(exist_ok=True)
        return tempfile.mkstemp(dir=folder, prefix=prefix)


def sha256_of(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
