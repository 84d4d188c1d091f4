"""Changed copies of a Keras model: the same architecture, some layers with new random weights."""

from __future__ import annotations

from typing import Any

import keras

from evalkit.core.errors import ModelError
from evalkit.models.keras import ends

__all__ = ["assign_weights", "with_new_weights"]


def with_new_weights(model: keras.Model, seed: int) -> keras.Model:
    """Return a copy of a model whose output layer, the last with weights, has new ones from its own initializers.

    Args:
        model: the model, functional or Sequential; it is not changed.
        seed: Random seed.

    Raises:
        ModelError: the model cannot be copied, has no single output layer, or its layer does not say how its weights
            are initialized, or at random.
    """
    try:
        copy = keras.models.clone_model(model, clone_function=_copied, recursive=True)
        assign_weights(copy, model)
    except Exception as error:
        raise ModelError(f"model '{model.name}' cannot be copied ({type(error).__name__}); leave out mprt") from error
    layer = ends.scoring_operations(copy)[-1]
    if not getattr(layer, "weights", None):
        raise ModelError(f"model '{model.name}' has no single output layer with weights; leave out mprt")
    initializers = [_initializer(model, layer, weight.name) for weight in layer.weights]
    if not any("seed" in initializer.get_config() for initializer in initializers):
        raise ModelError(
            f"layer '{layer.name}' of model '{model.name}' has no random initializer, so its weights would "
            "not be random; leave out mprt"
        )
    for position, (weight, initializer) in enumerate(zip(layer.weights, initializers, strict=True)):
        weight.assign(_seeded(initializer, seed + position)(weight.shape, dtype=weight.dtype))
    return copy


def assign_weights(copy: keras.Model, model: keras.Model) -> None:
    """Assign a model's weights to its copy, one by one to save memory."""
    for own, given in zip(copy.weights, model.weights, strict=True):
        own.assign(given)


def _copied(layer: Any) -> Any:  # noqa: ANN401 - a layer or an operator
    # An operator such as x / 255 has no weights.
    return type(layer).from_config(layer.get_config()) if isinstance(layer, keras.layers.Layer) else layer


def _initializer(model: keras.Model, layer: Any, name: str) -> Any:  # noqa: ANN401 - a layer, a Keras initializer
    initializer = getattr(layer, f"{name}_initializer", None)
    if not isinstance(initializer, keras.initializers.Initializer):
        raise ModelError(
            f"layer '{layer.name}' of model '{model.name}' has no {name}_initializer of Keras; leave out mprt"
        )
    return initializer


def _seeded(initializer: Any, seed: int) -> Any:  # noqa: ANN401 - a Keras initializer
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)
