"""Maps by the formulas of grad-cam 1.5.7 and torch-cam 0.5.0, for ``benchmarks/parity.py``, which wrote the folder.

It runs wherever Keras on TensorFlow, SciPy and OpenCV are: ``python benchmarks/peers/cam_formulas.py FOLDER``. Neither
evalkit nor PyTorch is used. The formulas were read in the libraries' sources and are written in NumPy, with their
constants and their order of steps: activations and gradients come from a tape on the model's logits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Array = NDArray[Any]


class Layered:
    """A chain model cut at a layer: what is below gives its activations, what is above the logits."""

    def __init__(self, model: keras.Model, layer: str) -> None:
        index = model.layers.index(model.get_layer(layer))
        model.layers[-1].activation = keras.activations.linear
        self._logits = model
        self._below = keras.Model(model.inputs, model.layers[index].output)
        self._above = model.layers[index + 1 :]

    def activations(self, photos: Array) -> Array:
        return np.asarray(self._below(photos))

    def above(self, features: Any) -> Any:  # noqa: ANN401 - a tensor
        for layer in self._above:
            features = layer(features)
        return features

    def logits(self, photos: Array, target: int) -> Array:
        """Return a class's logit of each photo; in batches."""
        parts = [np.asarray(self._logits(photos[start : start + 32])) for start in range(0, len(photos), 32)]
        return np.concatenate(parts)[:, target]

    def gradients(self, features: Array, target: int) -> Array:
        watched = tf.constant(features)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            logit = self.above(watched)[:, target]
        return np.asarray(tape.gradient(logit, watched))


class At(NamedTuple):
    """What is known at the layer for one photo and class: activations and gradients, both (h, w, K)."""

    features: Array
    gradients: Array

    @property
    def total(self) -> Array:
        """The sum of each channel, (K,)."""
        return np.asarray(self.features.sum(axis=(0, 1)))


Coarse = Callable[[At], Array]


def _weighted(features: Array, weights: Array) -> Array:
    return np.asarray((weights * features).sum(axis=-1))


def _by_weights(weights: Coarse) -> Coarse:
    return lambda at: _weighted(at.features, weights(at))


def _plus_plus_of_grad_cam(eps: float) -> Coarse:
    """grad_cam_plusplus.py: the denominator may be negative, and has an eps."""

    def weights(at: At) -> Array:
        squares, cubes = at.gradients**2, at.gradients**3
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = squares / (2 * squares + at.total * cubes + eps)
        return np.asarray((np.maximum(at.gradients, 0) * np.where(at.gradients != 0, alpha, 0)).sum(axis=(0, 1)))

    return _by_weights(weights)


def plus_plus_of_torch_cam(at: At) -> Array:
    """methods/gradient.py, GradCAMpp: the division changes a copy (``alpha[idx][mask].div_``), so alpha is g^2."""
    return np.asarray((at.gradients**2 * np.maximum(at.gradients, 0)).sum(axis=(0, 1)))


def plus_plus_meant_by_torch_cam(at: At) -> Array:
    """The same, had the division been kept: sum(g^3 A) in the denominator, where the paper has sum(A) g^3."""
    squares, cubes = at.gradients**2, at.gradients**3
    denominator = 2 * squares + (cubes * at.features).sum(axis=(0, 1))
    alpha = np.where(squares > 0, squares / (denominator + 1e-8), squares)
    return np.asarray((alpha * np.maximum(at.gradients, 0)).sum(axis=(0, 1)))


def _xgradcam(eps: float) -> Coarse:
    return _by_weights(lambda at: np.asarray((at.gradients * at.features).sum(axis=(0, 1)) / (at.total + eps)))


def _projected(matrix: Array, at: At) -> Array:
    return np.asarray((matrix @ np.linalg.svd(matrix, full_matrices=True)[2][0]).reshape(at.features.shape[:2]))


def centered_projection(at: At) -> Array:
    """svd_on_activations.py: the channels' means are taken away, and the sign is the SVD's."""
    matrix = at.features.reshape(-1, at.features.shape[-1])
    return _projected(matrix - matrix.mean(axis=0), at)


def uncentered_projection(at: At) -> Array:
    """The same without taking the means away, the sign such that the sum is positive."""
    projected = _projected(at.features.reshape(-1, at.features.shape[-1]), at)
    return projected if projected.sum() >= 0 else -projected


COARSE: dict[str, Coarse] = {
    "grad-cam GradCAM": _by_weights(lambda at: np.asarray(at.gradients.mean(axis=(0, 1)))),
    "grad-cam HiResCAM": lambda at: _weighted(at.features, at.gradients),
    "grad-cam LayerCAM": lambda at: _weighted(at.features, np.maximum(at.gradients, 0)),
    "grad-cam GradCAMPlusPlus": _plus_plus_of_grad_cam(0.000001),
    "grad-cam GradCAMPlusPlus, eps 0": _plus_plus_of_grad_cam(0.0),
    "grad-cam XGradCAM": _xgradcam(1e-7),
    "grad-cam EigenCAM": centered_projection,
    "grad-cam EigenCAM, uncentered": uncentered_projection,
    "torch-cam GradCAMpp": _by_weights(plus_plus_of_torch_cam),
    "torch-cam GradCAMpp, divided": _by_weights(plus_plus_meant_by_torch_cam),
    "torch-cam XGradCAM": _xgradcam(1e-8),
}


def enlarged(coarse: Array, size: tuple[int, int]) -> Array:
    """ReLU, minimum to maximum scaled to 0..1, bilinear: ``scale_cam_image`` of grad-cam."""
    values = np.maximum(coarse, 0)
    values = values - values.min()
    return np.asarray(cv2.resize(np.float32(values / (1e-7 + values.max())), size[::-1]))


def corner_aligned(coarse: Array, size: tuple[int, int]) -> Array:
    """Bilinear with the corners aligned, as ``UpsamplingBilinear2d``: (h, w, K) to (H, W, K)."""
    from scipy.ndimage import map_coordinates

    axes = [np.linspace(0, length - 1, side) for length, side in zip(coarse.shape, size, strict=False)]
    where = np.meshgrid(*axes, indexing="ij")
    channels = [map_coordinates(channel, where, order=1) for channel in np.moveaxis(coarse, -1, 0)]
    return np.stack(channels, axis=-1)


def center_aligned(coarse: Array, size: tuple[int, int]) -> Array:
    """Bilinear with the pixel centers aligned, (h, w, K) to (H, W, K)."""
    return np.stack([cv2.resize(channel, size[::-1]) for channel in np.moveaxis(coarse, -1, 0)], axis=-1)


def _scaled(channels: Array, eps: float) -> Array:
    channels = channels - channels.min(axis=(0, 1))
    return np.asarray(channels / (channels.max(axis=(0, 1)) + eps))


def scorecam(cut: Layered, photo: Array, target: int, features: Array, masks: Array) -> Array:
    """Weights: the softmax over channels of the logits of the preprocessed photo times each mask."""
    blended = np.moveaxis(masks, -1, 0)[..., None] * photo
    logits = cut.logits(blended.astype(np.float32), target)
    weights = np.exp(logits - logits.max())
    return _weighted(features, weights / weights.sum())


def ablationcam(cut: Layered, target: int, features: Array) -> Array:
    """ablation_cam.py: (z - z_k) / z, of either sign of z."""
    count = features.shape[-1]
    changed = np.repeat(features[None], count + 1, axis=0)
    changed[np.arange(count), ..., np.arange(count)] = 0
    logits = np.asarray(cut.above(changed))[:, target]
    return _weighted(features, (logits[-1] - logits[:-1]) / logits[-1])


def main() -> None:
    """Read the folder, write the maps beside it."""
    folder = Path(sys.argv[1])
    with np.load(folder / "inputs.npz") as given:
        pixels, targets, layer = given["pixels"], given["targets"], str(given["layer"])
    cut = Layered(keras.models.load_model(folder / "model.keras"), layer)
    photos = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
    size = pixels.shape[1:3]
    maps: dict[str, list[Array]] = {}
    for photo, target in zip(photos, targets.tolist(), strict=True):
        features = cut.activations(photo[None])[0]
        gradients = cut.gradients(features[None], target)[0]
        coarse = {name: formula(At(features, gradients)) for name, formula in COARSE.items()}
        of_grad_cam = _scaled(corner_aligned(features, size), 1e-8)
        of_torch_cam = center_aligned(_scaled(features, 1e-8), size)
        by_paper = _scaled(center_aligned(features, size), 1e-8)
        coarse["grad-cam ScoreCAM"] = scorecam(cut, photo, target, features, of_grad_cam)
        coarse["torch-cam ScoreCAM"] = scorecam(cut, photo, target, features, of_torch_cam)
        coarse["grad-cam ScoreCAM, centers aligned"] = scorecam(cut, photo, target, features, by_paper)
        coarse["grad-cam AblationCAM"] = ablationcam(cut, target, features)
        for name, values in coarse.items():
            maps.setdefault(name, []).append(enlarged(values, size))
    np.savez_compressed(folder / "cams.npz", **{name: np.stack(values) for name, values in maps.items()})


if __name__ == "__main__":
    main()
