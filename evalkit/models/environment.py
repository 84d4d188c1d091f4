"""The settings of Keras: checked before it is imported, and the standard ones while evalkit builds a model.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.core.errors import ConfigError
from evalkit.core.imports import first_line
from evalkit.core.names import shown
from evalkit.models.devices import prepare_devices

__all__ = ["require_keras", "require_tensorflow", "standard_settings"]

_BACKEND = "KERAS_BACKEND"


def require_keras() -> None:
    """Import Keras if it runs on TensorFlow, and prepare the GPUs.

    Raises:
        ConfigError: another backend is chosen, or Keras refuses its configuration file.
    """
    if "keras" not in sys.modules:
        backend, origin = _chosen_backend()
        _require_tensorflow(backend, origin)
    _turn_on_onednn()
    try:
        import keras
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise ConfigError(
            f"Keras cannot be imported: {type(error).__name__}: {first_line(error)}; correct or delete its "
            f"configuration file, '{_configuration()}'"
        ) from error
    _require_tensorflow(keras.config.backend(), "it is imported already")
    prepare_devices()


def require_tensorflow() -> None:
    """Raise ConfigError if Keras, which is imported already, runs on another backend; nothing is changed."""
    import keras

    _require_tensorflow(keras.config.backend(), "it is imported already")


def _turn_on_onednn() -> None:
    """Let TensorFlow use oneDNN, unless it is imported already or the user turned it off.

    It does so by itself on processors with AVX-512. On others passes are twice as fast with it, and there is no
    convolution over channels_first without it.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _require_tensorflow(backend: object, origin: str) -> None:
    if backend != "tensorflow":
        raise ConfigError(
            f"Keras runs on '{shown(backend)}' ({origin}); evalkit needs its tensorflow backend: set "
            f"{_BACKEND}=tensorflow in the environment, before Keras is imported"
        )


def _chosen_backend() -> tuple[object, str]:
    """Return the backend that Keras would use, by its own rules, and where it is set."""
    chosen = os.environ.get(_BACKEND)
    if chosen:
        return chosen, f"{_BACKEND} in the environment"
    path = _configuration()
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Keras ignores a file that is no JSON
        configuration = {}
    backend = configuration.get("backend", "tensorflow") if isinstance(configuration, dict) else "tensorflow"
    return backend, f"'{path}'"


def _configuration() -> Path:
    """Return the path of Keras' configuration file."""
    home = os.path.expanduser("~")  # noqa: PTH111 - pathlib's raises
    standard = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")  # noqa: PTH118, S108 - as Keras does
    return Path(os.path.expanduser(os.path.join(os.environ.get("KERAS_HOME", standard), "keras.json")))  # noqa: PTH111, PTH118


@contextmanager
def standard_settings() -> Iterator[None]:
    """Build models with channels last and in float32, whatever Keras' configuration file says."""
    import keras

    kept = keras.config.image_data_format(), keras.config.floatx()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_image_data_format(kept[0])
        keras.config.set_floatx(kept[1])
