"""Output of native code, which writes to the file descriptor of stderr, whatever Python's stderr is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_native_code"]


@contextmanager
def quiet_native_code() -> Iterator[None]:
    """Discard what is written to the file descriptor of stderr in the block."""
    sys.stderr.flush()
    kept, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(silent)
        os.close(kept)
