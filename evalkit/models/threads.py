"""The threads of TensorFlow in this process: the last digits of scores depend on their number."""

from __future__ import annotations

import os

from evalkit.core.errors import ConfigError

__all__ = ["threads_here", "use_threads"]

_VARIABLE = "TF_NUM_INTRAOP_THREADS"  # TensorFlow's own; a number set in Python takes precedence


def threads_here() -> int:
    """Return the number of threads that one operation of TensorFlow uses in this process."""
    import tensorflow as tf

    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    text = os.environ.get(_VARIABLE, "")
    return chosen or (int(text) if text.isdecimal() else 0) or len(os.sched_getaffinity(0))


def use_threads(count: int) -> None:
    """Set the number of threads of one operation.

    Args:
        count: the number, 1 or more.

    Raises:
        ConfigError: TensorFlow has started already with another number.
    """
    import tensorflow as tf

    if count == threads_here():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        raise ConfigError(
            f"--threads-per-worker {count} comes too late: TensorFlow has started in this process with "
            f"{threads_here()} threads; set {_VARIABLE}={count} in the environment, or use --engine ray"
        ) from None
