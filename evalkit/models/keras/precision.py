"""Number formats of models: copies in bfloat16 or float16, and TF32, for processors that have units for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeGuard

import keras

from evalkit.core.errors import ModelError
from evalkit.models.keras.variant import assign_weights

__all__ = ["HALF", "Fewer", "Half", "Precision", "has_bfloat16_units", "has_fewer_digits", "in_half", "is_half"]

Half = Literal["bfloat16", "float16"]
Fewer = Literal["tf32", "bfloat16", "float16"]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
HALF: tuple[Half, ...] = ("bfloat16", "float16")


def is_half(precision: str) -> TypeGuard[Half]:
    """Return whether a precision has 16 bits."""
    return precision in HALF


def has_fewer_digits(precision: str) -> TypeGuard[Fewer]:
    """Return whether a precision is one that a model in float32 may be asked to compute in, with fewer digits."""
    return precision == "tf32" or precision in HALF


@cache
def has_bfloat16_units() -> bool:
    """Return whether the processor has bfloat16 units (``amx_bf16`` or ``avx512_bf16``); Linux only."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags.split())


def in_half(model: keras.Model, kept: Sequence[Any], precision: Half) -> keras.Model:
    """Return a copy of a model that computes in 16 bits.

    Weights are rounded once. The operations that compute the scores keep float32: three digits, as bfloat16 has, are
    too few for differences of logits. Layers of other dtypes are not changed.

    Args:
        model: the model, functional or Sequential.
        kept: the operations that compute the scores.
        precision: the dtype of the copy.

    Raises:
        ModelError: a layer cannot be copied.
    """

    def copied(layer: Any) -> Any:  # noqa: ANN401
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operator such as x / 255 has no weights and takes any dtype
        config = layer.get_config()
        own = isinstance(layer, keras.layers.InputLayer) or any(layer is operation for operation in kept)
        if not own and layer.compute_dtype == "float32":
            config["dtype"] = precision
        return type(layer).from_config(config)

    try:
        copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
        assign_weights(copy, model)
    except Exception as error:
        raise ModelError(
            f"model '{model.name}' cannot be copied to {precision} ({type(error).__name__}); use --precision float32"
        ) from error
    return copy
