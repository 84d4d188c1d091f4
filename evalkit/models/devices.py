"""The GPUs of this process: memory that grows, and float32 with all its digits."""

from __future__ import annotations

import contextlib
from functools import cache

from evalkit.core.errors import ConfigError

__all__ = ["allow_tf32", "gpu_bytes", "gpu_names", "prepare_devices", "require_tf32"]


def prepare_devices() -> None:
    """Let the memory of GPUs grow as it is needed, and compute float32 without TF32, which has ten bits of fraction.

    Call it before a model is loaded: a GPU in use already keeps its memory. Without a GPU it does nothing.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # in use already
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        tf.config.experimental.enable_tensor_float_32_execution(False)


def allow_tf32() -> None:
    """Let GPUs round the factors of float32 products to TF32, in this process, until ``prepare_devices``."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)


def require_tf32(precision: str, engine: str = "local") -> None:
    """Raise ConfigError for TF32 if this process computes and has no GPU: it would be float32 under another name."""
    if precision == "tf32" and engine == "local" and not gpu_names():
        raise ConfigError(
            "--precision tf32 is for NVIDIA GPUs, from the Ampere generation on, and TensorFlow finds no GPU here; use "
            "float32 or auto"
        )


def gpu_names() -> list[str]:
    """Return the names of the GPUs that TensorFlow can use."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]


@cache
def gpu_bytes() -> int:
    """Return the memory of the first GPU that TensorFlow may use, in bytes; 0 without a GPU."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return 0
    from tensorflow.python.client import device_lib

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return int(limits[0]) if limits else 0
