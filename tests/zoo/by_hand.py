"""Scores, Grad-CAM and occlusion by hand, on the user's own Keras model and from the definitions alone.

Nothing of evalkit is used here: what it computes is compared with this.
"""

from __future__ import annotations

import math

import cv2
import keras
import numpy as np
import tensorflow as tf

__all__ = ["class_scores", "deletion", "grad_cam", "occlusion", "scorer"]

MEAN_COLOR = (123.68, 116.779, 103.939)


def scorer(model, score, prepare=lambda images: images, output_name=None, *, channels_first=False):
    """Return the function from images (N, H, W, C) in 0..255 to class scores, float64 (N, C).

    Args:
        model: the user's own Keras model, or a function of images.
        score: what has to be done to its outputs: ``itself``, ``softmax`` or ``sigmoid``.
        prepare: what is done to images before the model.
        output_name: the output of several.
        channels_first: True if the model takes (N, C, H, W).
    """
    if not isinstance(model, keras.Model):
        return lambda images: class_scores(np.asarray(model(np.float32(images)), dtype=np.float64), score)

    @tf.function(autograph=False)  # as ``predict`` does, which rounds bfloat16 in other places than eager passes
    def run(images):
        outputs = model(_in_its_form(model, images), training=False)
        return tf.cast(_one_of(outputs, output_name), tf.float64)

    return lambda images: class_scores(run(_given(images, prepare, channels_first)).numpy(), score)


def _given(images, prepare, channels_first):
    images = prepare(np.float32(images))
    return tf.constant(images.transpose(0, 3, 1, 2) if channels_first else images)


def _one_of(outputs, name):
    chosen = keras.tree.flatten(outputs if name is None else outputs[name])[0]
    return tf.reshape(chosen, [chosen.shape[0] or -1, np.prod(chosen.shape[1:])])


def _in_its_form(model, images):
    structure = getattr(model, "_inputs_struct", None)
    return keras.tree.pack_sequence_as(structure, [images]) if isinstance(structure, list | dict) else images


def class_scores(outputs, score):
    """Return the scores of all classes, float64 (N, C)."""
    if score == "softmax":
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = shifted / shifted.sum(axis=1, keepdims=True)
    if score == "sigmoid":
        outputs = 1 / (1 + np.exp(-outputs))
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def _layer_at(model, path):
    for name in path.split("/"):
        model = model.get_layer(name)
    return model


def grad_cam(model, twin, path, image, target, *, exclusive, kind, output_name=None):
    """Return the Grad-CAM of one image, float64 (H, W).

    The gradient is of the twin's logit; of one unit of +z or -z; without a twin of log p - log(1 - p), where 1 - p is
    the sum of the others if the classes exclude each other.
    """
    layer, chosen = _layer_at(model, path), twin or model
    call = layer.call

    @tf.function(autograph=False)  # rounds bfloat16 as ``predict`` does
    def run(images):
        seen = []

        def watched(*args, **kwargs):
            output = call(*args, **kwargs)
            tape.watch(output)
            seen.append(output)
            return output

        with tf.GradientTape() as tape:
            layer.call = watched
            try:
                outputs = chosen(_in_its_form(chosen, images), training=False)
            finally:
                layer.call = call
            outputs = _one_of(outputs, output_name if twin is None else None)[0]
            objective = _objective(outputs, target, is_logit=twin is not None, exclusive=exclusive)
        (output,) = seen  # the layer runs once
        return tf.cast(output, tf.float64)[0], tf.cast(tape.gradient(objective, output), tf.float64)[0]

    first = kind.channels_first and model.input_shape[1] == image.shape[2]
    features, gradient = (_rows(tensor.numpy(), kind) for tensor in run(_given(image[None], kind.prepare, first)))
    coarse = np.maximum((gradient.mean(axis=(0, 1)) * features).sum(axis=-1), 0.0)
    height, width = image.shape[:2]
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _rows(tensor, kind):
    """Return features as (h, w, K)."""
    if kind.grid is not None:
        first, height, width = kind.grid
        return tensor[first : first + height * width].reshape(height, width, -1)
    return tensor.transpose(1, 2, 0) if kind.channels_first else tensor


def _objective(outputs, target, *, is_logit, exclusive):
    one = outputs.shape[0] == 1
    if is_logit:
        return (outputs[0] if target == 1 else -outputs[0]) if one else outputs[target]
    if one:
        odds = tf.math.log(outputs[0]) - tf.math.log(1 - outputs[0])
        return odds if target == 1 else -odds
    others = tf.reduce_sum(outputs) - outputs[target] if exclusive else 1 - outputs[target]
    return tf.math.log(outputs[target]) - tf.math.log(others)


def occlusion(scores_of, image, target, patch_size):
    """Return the occlusion map of one image with black patches, float64 (H, W).

    Args:
        scores_of: the function from images to class scores, float64 (N, C).
        image: the image, (H, W, C) in 0..255.
        target: the class.
        patch_size: the patch size, which is also the stride, in pixels.
    """
    height, width = image.shape[:2]
    corners = [(top, left) for top in _starts(height, patch_size) for left in _starts(width, patch_size)]
    hidden = np.stack([image] * (1 + len(corners)))
    for number, (top, left) in enumerate(corners, start=1):
        hidden[number, top : top + patch_size, left : left + patch_size] = 0
    clean, *scores = scores_of(hidden)[:, target]
    total, cover = np.zeros((height, width)), np.zeros((height, width))
    for (top, left), score in zip(corners, scores, strict=True):
        total[top : top + patch_size, left : left + patch_size] += clean - score
        cover[top : top + patch_size, left : left + patch_size] += 1
    return total / cover


def _starts(side, patch_size):
    free = side - patch_size
    return [round(start) for start in np.linspace(0, free, math.ceil(free / patch_size) + 1)]


def deletion(scores_of, image, saliency_map, target, cuts):
    """Return the class's scores where the first pixels of a map without ties turn into the mean color.

    Args:
        scores_of: as in ``occlusion``.
        image: the image, (H, W, 3) in 0..255.
        saliency_map: the map, (H, W), without equal values.
        target: the class.
        cuts: the numbers of pixels that are replaced.
    """
    order = np.argsort(-saliency_map, axis=None)
    scores = []
    for cut in cuts:
        changed = image.astype(np.float32).reshape(-1, len(MEAN_COLOR))
        changed[order[:cut]] = MEAN_COLOR
        scores.append(scores_of(changed.reshape(1, *image.shape))[0, target])
    return np.array(scores)
