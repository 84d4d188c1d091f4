"""A changed copy of a Keras model: the same architecture, some layers with new random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from evalkit.core.errors import ModelError
from evalkit.core.randomness import generator
from evalkit.metrics.requests import Variant
from evalkit.models.keras import ends
from evalkit.models.keras.graph import functional_graph, operations_in

__all__ = ["ChangedWeights", "assign_weights", "weighted_layers"]

_LEAVE_OUT = "leave out mprt and emprt"
_LEAVE_OUT_OUTPUT = "leave out mprt(layers=output)"


def weighted_layers(model: keras.Model) -> list[Any]:
    """Return the layers with weights in the order computed: nested models entered, a shared layer once.

    Layers that standardize the input (``Normalization``) are preprocessing, whose numbers are not learned.

    Args:
        model: the model, functional or Sequential.
    """
    layers = {
        id(operation): operation
        for _, operation in operations_in(functional_graph(model))
        if getattr(operation, "weights", None) and not isinstance(operation, keras.layers.Normalization)
    }
    return list(layers.values())


@dataclass(frozen=True)
class _Draw:
    """How one weight is drawn.

    Attributes:
        position: its position among the model's weights.
        initializer: Keras' initializer.
        seed: Random seed.
    """

    position: int
    initializer: Any
    seed: int


class ChangedWeights:
    """One copy of a model, whose weights are changed in place: nothing compiled for it has to be compiled again.

    Attributes:
        copy: the copy; at first with the weights of the model itself, which is not changed.
    """

    def __init__(self, model: keras.Model) -> None:
        """Copy the model.

        Args:
            model: the model, functional or Sequential.

        Raises:
            ModelError: the model cannot be copied.
        """
        try:
            self.copy = keras.models.clone_model(model, clone_function=_copied, recursive=True)
            assign_weights(self.copy, model)
        except Exception as error:
            raise ModelError(f"model '{model.name}' cannot be copied ({type(error).__name__}); {_LEAVE_OUT}") from error
        self._name = model.name
        self._own, self._given = list(self.copy.weights), list(model.weights)
        self._position = {id(weight): position for position, weight in enumerate(self._own)}
        # Of the new weights, by position; all others are the model's. None = unknown, after an error.
        self._seeds: dict[int, int] | None = {}

    def apply(self, variant: Variant) -> list[int]:
        """Give the copy the weights of a variant; return the positions of those that changed among its weights.

        Raises:
            ModelError: the model has no such layers, or they do not say how their weights are initialized, or nothing
                in them is random.
        """
        draws = {draw.position: draw for draw in self._draws(variant)}
        seeds = {position: draw.seed for position, draw in draws.items()}
        before, self._seeds = self._seeds, None
        changed = [
            position
            for position in range(len(self._own))
            if before is None or seeds.get(position) != before.get(position)
        ]
        for position in changed:
            weight, draw = self._own[position], draws.get(position)
            weight.assign(self._given[position] if draw is None else _drawn(draw, weight))
        self._seeds = seeds
        return changed

    def forget(self) -> None:
        """Change all weights the next time, because what was made of these is not known."""
        self._seeds = None

    def _draws(self, variant: Variant) -> list[_Draw]:
        return self._of_the_output(variant.seed) if variant.layers == "output" else self._of_the_first(variant)

    def _of_the_output(self, seed: int) -> list[_Draw]:
        layer = ends.scoring_operations(self.copy)[-1]
        if not getattr(layer, "weights", None):
            raise ModelError(f"model '{self._name}' has no single output layer with weights; {_LEAVE_OUT_OUTPUT}")
        found = self._initializers(layer, _LEAVE_OUT_OUTPUT)
        if not any(_is_random(initializer) for _, initializer in found):
            raise ModelError(
                f"layer '{layer.name}' of model '{self._name}' has no random initializer, so its weights would "
                f"not be random; {_LEAVE_OUT_OUTPUT}"
            )
        return [_Draw(position, initializer, seed + number) for number, (position, initializer) in enumerate(found)]

    def _of_the_first(self, variant: Variant) -> list[_Draw]:
        layers = weighted_layers(self.copy)
        if not layers:
            raise ModelError(f"model '{self._name}' has no layer with weights; {_LEAVE_OUT}")
        if not 1 <= variant.first <= len(layers):
            raise ValueError(f"first={variant.first}: model '{self._name}' has {len(layers)} layers with weights")
        found = [self._initializers(layer, _LEAVE_OUT) for layer in layers]
        if not any(_is_random(initializer) for of_layer in found for _, initializer in of_layer):
            raise ModelError(
                f"no layer of model '{self._name}' has a random initializer, so its weights would not be random; "
                f"{_LEAVE_OUT}"
            )
        draws: dict[int, _Draw] = {}
        for layer, of_layer in enumerate(found[: variant.first]):
            for number, (position, initializer) in enumerate(of_layer):
                seed = int(generator(variant.seed, layer, number).integers(2**31))
                draws.setdefault(position, _Draw(position, initializer, seed))  # layers may share a weight
        return list(draws.values())

    def _initializers(self, layer: Any, advice: str) -> list[tuple[int, Any]]:  # noqa: ANN401 - a layer
        """Return the position and the initializer of each weight of a layer and of the layers inside it."""
        owner = {id(weight): inner for inner in layer._flatten_layers() for weight in inner.weights}
        found = []
        for weight in layer.weights:
            inner = owner.get(id(weight), layer)
            initializer = _initializer(inner, weight.name)
            if initializer is None:
                raise ModelError(
                    f"layer '{inner.name}' of model '{self._name}' has no {weight.name}_initializer of Keras; {advice}"
                )
            found.append((self._position[id(weight)], initializer))
        return found


def assign_weights(copy: keras.Model, model: keras.Model, positions: Sequence[int] | None = None) -> None:
    """Assign a model's weights to its copy, one by one to save memory.

    Args:
        copy: the copy.
        model: the model.
        positions: which weights; None = all.
    """
    for position, (own, given) in enumerate(zip(copy.weights, model.weights, strict=True)):
        if positions is None or position in positions:
            own.assign(given)


def _copied(layer: Any) -> Any:  # noqa: ANN401 - a layer or an operator
    # An operator such as x / 255 has no weights.
    return type(layer).from_config(layer.get_config()) if isinstance(layer, keras.layers.Layer) else layer


def _initializer(layer: Any, name: str) -> Any | None:  # noqa: ANN401 - a layer, a Keras initializer
    names = [f"{name}_initializer", f"{name.removesuffix('_kernel')}_initializer"]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        names.append("depthwise_initializer")  # of its weight 'kernel'
    found = (getattr(layer, candidate, None) for candidate in names)
    return next((one for one in found if isinstance(one, keras.initializers.Initializer)), None)


def _is_random(initializer: Any) -> bool:  # noqa: ANN401 - a Keras initializer
    return "seed" in initializer.get_config()


def _drawn(draw: _Draw, weight: Any) -> Any:  # noqa: ANN401 - a Keras variable, a tensor
    config = draw.initializer.get_config()
    seeded = type(draw.initializer).from_config({**config, "seed": draw.seed} if "seed" in config else config)
    return seeded(weight.shape, dtype=weight.dtype)
