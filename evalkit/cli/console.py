"""Output: results go to stdout, progress to stderr."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evalkit.core.errors import StoreError
from evalkit.core.native import quiet_native_code

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console

__all__ = [
    "color_wanted",
    "on_terminal",
    "prepare_streams",
    "print_bytes",
    "print_result",
    "quiet_native_stderr",
    "stderr_console",
    "terminal_width",
]

_DEFAULT_WIDTH, _WIDEST = 80, 1000


class _LossyStream(io.FileIO):
    """A stream that drops output which cannot be written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Return the number of bytes written or dropped."""
        with contextlib.suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Prepare the standard streams, so that no run ends because a stream is closed.

    A closed stream becomes the null device; otherwise the next file opened would take its number. Output on stderr,
    which is only progress, is dropped if it cannot be written.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    raw = _LossyStream(2, "w", closefd=False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="replace", line_buffering=True)


def terminal_width() -> int:
    """Return the columns of the terminal, at most 1,000; 80 if there is no terminal."""
    return min(shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns, _WIDEST)


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def color_wanted() -> bool:
    """Return whether stdout is a terminal and NO_COLOR (https://no-color.org) is not set."""
    return on_terminal() and not os.environ.get("NO_COLOR")


def stderr_console() -> Console:
    """Return the console for progress."""
    from rich.console import Console

    return Console(stderr=True, force_jupyter=False)


def print_result(text: str) -> None:
    """Print a result on stdout, with one newline at its end; a reader that closes the pipe early is no error.

    Raises:
        StoreError: stdout cannot be written.
    """
    _print(lambda: sys.stdout.write(text.rstrip("\n") + "\n"))


def print_bytes(content: bytes) -> None:
    """Print a binary file on stdout; as ``print_result``."""
    _print(lambda: sys.stdout.buffer.write(content))


def _print(write: Callable[[], object]) -> None:
    try:
        write()
        sys.stdout.flush()
    except OSError as error:
        # The rest must not be flushed again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise StoreError(f"stdout cannot be written: {error.strerror}; repeat the command to resume") from error


@contextmanager
def quiet_native_stderr() -> Iterator[None]:
    """Discard what TensorFlow's native code writes to stderr while it is imported, and its advice on retracing.

    Every changed model of a metric is compiled on purpose.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").addFilter(_not_on_retracing)
    with quiet_native_code():
        yield


def _not_on_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
