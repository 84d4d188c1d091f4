"""A simple script for the same job: tf-explain's maps and RISE's loop, without any optimization."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

from evalkit.models.inference.perturbation import MEAN_COLOR, blurred

Map = NDArray[np.floating]

_STEP_PIXELS = 1792


class Quiet:
    """A model whose ``predict`` prints nothing."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def predict(self, images: NDArray[np.floating], batch_size: int | None = None) -> NDArray[np.floating]:
        return np.asarray(self._model.predict(np.asarray(images), batch_size=batch_size, verbose=0))


def occlusion(model: keras.Model, photo: NDArray[np.floating], class_index: int, patch_size: int) -> Map:
    """tf-explain's own map; ``photo`` is preprocessed."""
    return OcclusionSensitivity(batch_size=16).get_sensitivity_map(Quiet(model), photo, class_index, patch_size)


def gradcam(model: keras.Model, photo: NDArray[np.floating], class_index: int, layer: str) -> Map:
    """tf-explain's own map."""
    outputs, gradients = GradCAM.get_gradients_and_filters(model, photo[None], layer, class_index, True)
    return np.asarray(GradCAM.generate_ponderated_output(outputs, gradients)[0])


def curve(
    model: keras.Model,
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    order: NDArray[np.intp],
    class_index: int,
) -> float:
    """RISE's causal metric: change pixels in order, predict after each step, integrate."""
    side = start.shape[0]
    images = [start.copy()]
    for first in range(0, order.size, _STEP_PIXELS):
        changed = images[-1].copy()
        rows, columns = np.unravel_index(order[first : first + _STEP_PIXELS], (side, side))
        changed[rows, columns] = end[rows, columns]
        images.append(changed)
    scores = Quiet(model).predict(np.stack(images), batch_size=16)[:, class_index]
    return float(np.trapezoid(scores) / (len(scores) - 1))


def scored(model: keras.Model, photo: NDArray[np.uint8], saliency_map: Map, class_index: int) -> dict[str, float]:
    """Score one map: deletion, insertion, the gain's two curves, average drop."""
    import cv2

    prepare = keras.applications.vgg16.preprocess_input
    clean = prepare(photo.astype(np.float32))
    mean = prepare(np.broadcast_to(np.float32(MEAN_COLOR), photo.shape).copy())
    blur = prepare(blurred(photo))
    saliency_map = cv2.resize(np.asarray(saliency_map, dtype=np.float64), photo.shape[1::-1])
    order = np.argsort(-saliency_map.ravel())
    weight = (saliency_map - saliency_map.min()) / (np.ptp(saliency_map) or 1.0)
    faded = weight[..., None] * clean + (1 - weight[..., None]) * mean
    before, after = Quiet(model).predict(np.stack([clean, faded]).astype(np.float32))[:, class_index]
    return {
        "deletion": curve(model, clean, mean, order, class_index),
        "insertion": curve(model, blur, clean, order, class_index),
        "gain": curve(model, mean, clean, order, class_index) - curve(model, clean, mean, order, class_index),
        "average_drop": float(max(0.0, before - after) / before),
    }
