"""Scores of xplique 2.0.2 for ``benchmarks/metric_parity.py``, which wrote the folder. Runs where xplique is, alone.

See ``xplique_maps.py`` for its environment: ``xp/bin/python benchmarks/peers/xplique_metrics.py FOLDER``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from xplique.metrics import MuFidelity

Array = NDArray[Any]

_BATCH = 50


def scores(metric: MuFidelity, maps: Array, seed: int) -> Array:
    """Return the score of each map (E, H, W) of the metric's one photo; all with the masks of one seed."""
    compute, known = metric.batch_inference_function, {}

    def remembered(model: Any, images: tf.Tensor, targets: tf.Tensor, batch_size: int) -> tf.Tensor:  # noqa: ANN401
        key = hashlib.sha256(np.asarray(images).tobytes()).digest()
        if key not in known:
            known[key] = compute(model, images, targets, batch_size)
        return known[key]

    metric.batch_inference_function = remembered
    found = []
    for one in maps:
        tf.random.set_seed(seed)
        found.append(metric.evaluate(one[None].astype(np.float32)))
    return np.array(found)


def with_masks(photo: Array, masks: Array) -> Any:  # noqa: ANN401 - a function for xplique
    """Return a stand-in for the library's ``_perturb_samples`` that hides evalkit's masks (M, H, W) in turn."""
    done = 0

    def perturbed(_inputs: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        nonlocal done
        block = 1 - masks[done : done + count, ..., None].astype(np.float32)
        done = (done + count) % len(masks)
        return tf.constant(photo[None] * block), tf.constant(block[None])

    return perturbed


def main() -> None:
    """Write ``peer_xplique.npz``: each photo's scores as shipped, twice, and with evalkit's masks."""
    folder = Path(sys.argv[1])
    with np.load(folder / "inputs.npz") as given:
        pixels, maps, targets = given["pixels"], given["maps"], given["targets"]
        cells = given["mu_fidelity masks"]
    model = keras.models.load_model(folder / "model.keras")
    photos = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
    one_hot = np.eye(model.output_shape[1], dtype=np.float32)[targets]
    rows, columns = (np.arange(side) * cells.shape[2] // side for side in maps.shape[2:])
    found: dict[str, list[Array]] = {"MuFidelity shipped": [], "MuFidelity again": [], "MuFidelity masks": []}
    for index, photo in enumerate(photos):
        for name, seed in (("MuFidelity shipped", 1), ("MuFidelity again", 2), ("MuFidelity masks", 0)):
            metric = MuFidelity(model, photos[index : index + 1], one_hot[index : index + 1], batch_size=_BATCH)
            if name == "MuFidelity masks":
                metric._perturb_samples = with_masks(photo, cells[index][:, rows][:, :, columns])
            found[name].append(scores(metric, maps[index], seed))
        print(index, {name: np.round(each[-1], 4) for name, each in found.items()}, flush=True)
    np.savez_compressed(folder / "peer_xplique.npz", **{name: np.stack(each) for name, each in found.items()})


if __name__ == "__main__":
    main()
