"""One input, and one output of several, of a Keras model."""

from __future__ import annotations

from typing import Any

import keras

from evalkit.core.errors import ModelError, nearest

__all__ = ["one_output", "require_one_input"]


def require_one_input(model: keras.Model) -> None:
    """Raise ModelError if a model is known to have several inputs."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        listed = ", ".join(f"{tensor.name} {tuple(tensor.shape)}" for tensor in inputs)
        raise ModelError(
            f"model '{model.name}' has {len(inputs)} inputs: {listed}; give a model or function of the images alone, "
            "which fixes the others, with --model module:function (docs/models.md has an example)"
        )


def one_output(model: keras.Model, name: str | None) -> keras.Model:
    """Return the model with one of its outputs; the model itself if it has only one. Its layers are shared.

    Args:
        model: any Keras model.
        name: the output's name, its key in a dictionary of outputs, its layer's name, or its number from 0; None if
            the model has one output.

    Raises:
        ModelError: the model has several outputs and none is named, or none of that name.
    """
    outputs = _outputs_of(model)
    if name is None and len(outputs) <= 1:
        return model
    if len(outputs) == 0:
        raise ModelError(
            f"--output-name '{name}': the outputs of model '{model.name}' are unknown: it is neither functional nor "
            "Sequential; leave the option out, or use module:function"
        )
    listed = [f"{key} {tuple(tensor.shape)}" for key, tensor in outputs.items()]
    if name is None:
        raise ModelError(
            f"model '{model.name}' has {len(outputs)} outputs: {', '.join(listed)}; name the class scores with "
            f"--output-name, e.g. --output-name {next(iter(outputs))}"
        )
    found = outputs.get(name)
    if found is None and name.isdecimal() and int(name) < len(outputs):
        found = list(outputs.values())[int(name)]
    if found is None:
        raise ModelError(
            f"--output-name '{name}': model '{model.name}' has no such output; {nearest(name, outputs)}, or 0 to "
            f"{len(outputs) - 1}"
        )
    return model if len(outputs) == 1 else keras.Model(model.inputs, found, name=model.name)


def _outputs_of(model: keras.Model) -> dict[str, Any]:
    """Return the output tensors by name; those of equal names are numbered. Empty for a subclassed model."""
    structure = getattr(model, "_outputs_struct", None)
    tensors = getattr(model, "outputs", None) or []
    if isinstance(structure, dict):
        return dict(structure)
    names = [str(getattr(tensor, "_keras_history", (tensor,))[0].name) for tensor in tensors]
    return {
        name if names.count(name) == 1 else f"{name}:{position}": tensor
        for position, (name, tensor) in enumerate(zip(names, tensors, strict=True))
    }
