"""bfloat16 where the processor has units for it: half the bits, several times the speed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras

from evalkit.core.errors import ModelError
from evalkit.models.keras.variant import assign_weights

__all__ = ["has_bfloat16_units", "in_bfloat16"]


@cache
def has_bfloat16_units() -> bool:
    """Tell whether the processor multiplies bfloat16 itself (``amx_bf16`` or ``avx512_bf16``); Linux only."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags.split())


def in_bfloat16(model: keras.Model, kept: Sequence[Any]) -> keras.Model:
    """Return a copy of a model that computes in bfloat16.

    Weights are rounded once. What makes the scores stays as it is: bfloat16 keeps three digits, too few for logits
    whose differences are the result. So do layers that are not of float32.

    Args:
        model: functional or Sequential.
        kept: the operations that make the scores.

    Raises:
        ModelError: a layer cannot be copied.
    """

    def copied(layer: Any) -> Any:  # noqa: ANN401
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operator such as x / 255: it has no weights and takes what it is given
        config = layer.get_config()
        own = isinstance(layer, keras.layers.InputLayer) or any(layer is one for one in kept)
        if not own and layer.compute_dtype == "float32":
            config["dtype"] = "bfloat16"
        return type(layer).from_config(config)

    try:
        copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
        assign_weights(copy, model)
    except Exception as error:
        raise ModelError(
            f"model '{model.name}' cannot be copied to bfloat16 ({type(error).__name__}); use --precision float32"
        ) from error
    return copy
