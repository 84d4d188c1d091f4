"""Standard streams without what some threads print: Ray's own print warnings of the cluster among a run's results."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["quiet_threads"]


class _Stream:
    """A stream that drops what is written in threads of a name."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream, self._prefix = stream, prefix

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith(self._prefix):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the stream's own
        return getattr(self._stream, name)


@contextmanager
def quiet_threads(prefix: str) -> Iterator[None]:
    """Drop what threads print on stdout and stderr whose name begins with ``prefix``, in this process."""
    kept = sys.stdout, sys.stderr
    quiet = _Stream(sys.stdout, prefix), _Stream(sys.stderr, prefix)
    sys.stdout, sys.stderr = quiet
    try:
        yield
    finally:
        # Somebody else may have replaced them meanwhile.
        if sys.stdout is quiet[0]:
            sys.stdout = kept[0]
        if sys.stderr is quiet[1]:
            sys.stderr = kept[1]
