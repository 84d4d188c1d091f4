"""The GPUs of this process: memory that grows, and float32 with all its digits."""

from __future__ import annotations

__all__ = ["prepare_devices"]


def prepare_devices() -> None:
    """Let the memory of GPUs grow as it is needed, and compute float32 in float32; does nothing without a GPU."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(False)
