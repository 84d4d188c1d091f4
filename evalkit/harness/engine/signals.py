"""Delays Ctrl-C and SIGTERM while something is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay a signal that arrives in the block until the block ends."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is ever interrupted
        yield
        return
    waiting: list[int] = []
    usual = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if usual[number] is not None:  # a handler that is not Python's cannot be put back
            signal.signal(number, lambda arrived, _frame: waiting.append(arrived))
    try:
        yield
    finally:
        for number in _SIGNALS:
            if usual[number] is not None:
                signal.signal(number, usual[number])
        if waiting:
            signal.raise_signal(waiting[0])
