"""Where results and progress go: stdout is the result, stderr is progress."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["color_wanted", "print_result", "quiet_native_stderr", "stderr_console", "terminal_width"]

_DEFAULT_WIDTH = 80


def terminal_width() -> int:
    """Return the columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns


def color_wanted() -> bool:
    """Tell whether stdout is a terminal that wants color (https://no-color.org is respected)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def stderr_console() -> Console:
    """Return the console for progress."""
    from rich.console import Console

    return Console(stderr=True)


def print_result(text: str) -> None:
    """Print a result on stdout, with one newline at its end; whoever reads it may go before it ends."""
    try:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left must not be flushed into a closed pipe when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def quiet_native_stderr() -> Iterator[None]:
    """Keep what TensorFlow's native code writes while it is imported off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(silent)
        os.close(kept)
