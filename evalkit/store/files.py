"""Writing files so that a reader sees the whole of the new one or the whole of the old one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

__all__ = ["sha256_of", "write_bytes"]


def write_bytes(path: Path, data: bytes, by_way_of: Path | None = None) -> None:
    """Write a file under a temporary name, sync it, and rename it into place; make its folder if need be.

    Args:
        path: the file.
        data: its contents.
        by_way_of: the folder of the temporary file, on the same disk; None = the file's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent if by_way_of is None else by_way_of
    aside.mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=aside, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_of(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
