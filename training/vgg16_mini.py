"""Trains ``vgg16-mini`` on scenes: ``python training/vgg16_mini.py --output FILE.npz``.

It takes under an hour on two cores, and 6 GB of memory. ``vgg16_mini.log`` is the output of the training of the shipped
weights.

The choices, and their reasons:

* A quarter of every batch are scenes without their object, with a uniform target: the background is no evidence.
* Three in ten images get holes of a flat color; the target moves toward uniform by the hidden fraction of the object.
  Perturbation metrics and occlusion produce such images; without this, a flat hole in the shape of a heart would be
  classified as a heart, and a black square patch as a square.
* Shapes are slow to learn from labels alone (no progress in 1,000 batches), so the exact masks are used: in training,
  a second output at ``block5_conv3`` predicts the class of each 16 x 16 cell. It is removed at the end.
* Convolutions are first trained at half the resolution, where a pass costs a quarter.
* Batch normalization is used in training and folded into kernels and biases at the end, so that the graph is VGG16's.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from scene_checks import evidence

from evalkit.core.randomness import generator
from evalkit.datasets.scenes.scenes import CLASS_NAMES, SIZE_PX, make_scene
from evalkit.datasets.scenes.textures import fractal_noise
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import MEAN_COLOR
from evalkit.models.zoo import vgg16_mini as mini

Images = NDArray[np.uint8]
Mask = NDArray[np.bool_]

N_SCENES, SCENES_SEED = 12_000, 1000
N_CHECKED, CHECKED_SEED = 1000, 2000  # checked after every epoch; the published figures use other seeds
BATCH, WITHOUT = 64, 16  # images in a batch, and those of them without their object
HOLED = 0.3  # fraction of images with holes
SCALE = 1 / 60  # of preprocessed pixels, so that the first layer sees values about 1
FILLS = (MEAN_COLOR, MEAN_COLOR, (0, 0, 0), (127.5, 127.5, 127.5))
CELL = 16  # pixels of a cell of the second output
CELLS_WEIGHT = 4.0


@dataclass(frozen=True)
class Stage:
    """One round of training at one resolution."""

    side: int
    epochs: int
    rate: float


STAGES = (Stage(SIZE_PX // 2, 14, 3e-3), Stage(SIZE_PX, 10, 2e-3))


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes in memory: (N, side, side, 3) with and without their object, and (N,) classes."""

    pixels: Images
    without_object: Images
    class_index: NDArray[np.int64]

    def at(self, side: int) -> Scenes:
        """Return the same scenes at this side length, by averaging blocks of pixels."""
        return self if side == SIZE_PX else Scenes(_shrunk(self.pixels), _shrunk(self.without_object), self.class_index)


def _shrunk(images: Images) -> Images:
    count, side = len(images), images.shape[1] // 2
    small = np.empty((count, side, side, 3), np.uint8)
    for number, image in enumerate(images):
        small[number] = np.rint(image.reshape(side, 2, side, 2, 3).mean(axis=(1, 3)))
    return small


def _make_scene(task: tuple[int, int]) -> tuple[Images, Images, int]:
    scene = make_scene(*task)
    return scene.pixels, scene.without_object, scene.class_index


def make_scenes(seed: int, count: int) -> Scenes:
    """Make scenes on all cores."""
    shape = (count, SIZE_PX, SIZE_PX, 3)
    scenes = Scenes(np.empty(shape, np.uint8), np.empty(shape, np.uint8), np.empty(count, np.int64))
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        tasks = [(seed, index) for index in range(count)]
        for index, (pixels, without, class_index) in enumerate(pool.imap(_make_scene, tasks, chunksize=32)):
            scenes.pixels[index], scenes.without_object[index] = pixels, without
            scenes.class_index[index] = class_index
    return scenes


class Batches(keras.utils.PyDataset):
    """The batches of a stage; they depend only on (seed, stage, epoch, number)."""

    def __init__(self, scenes: Scenes, seed: int) -> None:
        super().__init__(workers=1)
        self._scenes, self._seed, self._side, self._epoch = scenes, seed, scenes.pixels.shape[1], 0
        noise = generator(seed, "blobs", self._side)
        self._blobs = [fractal_noise(noise, self._side, finest=16) for _ in range(64)]
        self._shuffle()

    def _shuffle(self) -> None:
        shuffled = generator(self._seed, "order", self._side, self._epoch)
        self._order = shuffled.permutation(len(self._scenes.class_index))

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def __len__(self) -> int:
        return len(self._order) // (BATCH - WITHOUT)

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        rng = generator(self._seed, "batch", self._side, self._epoch, number)
        with_object = self._order[number * (BATCH - WITHOUT) : (number + 1) * (BATCH - WITHOUT)]
        indices = [*with_object, *rng.integers(0, len(self._order), WITHOUT)]
        images = np.empty((BATCH, self._side, self._side, 3), np.float32)
        scores = np.zeros((BATCH, len(CLASS_NAMES)), np.float32)
        cells = np.zeros((BATCH, self._side // CELL, self._side // CELL, len(CLASS_NAMES) + 1), np.float32)
        for position, index in enumerate(indices):
            image, seen, share = self._example(rng, index, with_object=position < len(with_object))
            image, seen = _turned(rng, image, seen)
            images[position] = image
            class_index = self._scenes.class_index[index]
            scores[position] = (1.0 - share) / len(CLASS_NAMES)
            scores[position, class_index] += share
            cells[position, ..., class_index] = seen.reshape(len(cells[0]), CELL, -1, CELL).mean(axis=(1, 3))
        cells[..., -1] = 1.0 - cells.sum(axis=-1)
        colors = images[..., rng.permutation(3)]
        return keras.applications.vgg16.preprocess_input(colors), (scores, cells)

    def _example(self, rng: np.random.Generator, index: int, *, with_object: bool) -> tuple[NDArray[Any], Mask, float]:
        """Return one image, the object's visible pixels, and the visible fraction of the object."""
        pixels, without = self._scenes.pixels[index], self._scenes.without_object[index]
        mask = (pixels != without).any(axis=-1)
        image: NDArray[Any] = pixels if with_object else without
        seen = mask if with_object else np.zeros_like(mask)
        if rng.random() < HOLED:
            holes = make_holes(rng, mask, self._blobs)
            image = np.where(holes[..., None], FILLS[rng.integers(len(FILLS))], image)
            seen = seen & ~holes
        return image, seen, float(seen.sum() / mask.sum())


def make_holes(rng: np.random.Generator, mask: Mask, blobs: Sequence[NDArray[np.float64]]) -> Mask:
    """Return a mask of rectangles, blobs, the object itself or scattered cells, or its inverse."""
    side, kind = len(mask), rng.integers(4)
    holes = np.zeros((side, side), dtype=bool)
    if kind == 0:
        for _ in range(rng.integers(1, 7)):
            length = int(rng.integers(side // 28, side // 2))
            top, left = rng.integers(-length // 2, side - length // 2, 2)
            holes[max(top, 0) : top + length, max(left, 0) : left + length] = True
    elif kind == 1:
        blob = blobs[rng.integers(len(blobs))]
        holes = blob > np.quantile(blob, rng.uniform(0.1, 0.9))
    elif kind == 2:
        holes = mask
    else:
        coarse = rng.random((side // 8, side // 8)) < rng.uniform(0.05, 0.9)
        holes = coarse.repeat(8, axis=0).repeat(8, axis=1)
    return ~holes if rng.random() < 0.35 else holes


def _turned(rng: np.random.Generator, image: NDArray[Any], seen: Mask) -> tuple[NDArray[Any], Mask]:
    """Transpose and mirror at random."""
    if rng.random() < 0.5:
        image, seen = image.transpose(1, 0, 2), seen.T
    down, across = rng.choice((1, -1), 2)
    return image[::down, ::across], seen[::down, ::across]


def build_for_training(side: int) -> keras.Model:
    """Build ``vgg16-mini`` with batch normalization and the second output."""

    def normalized(tensor: Any, name: str) -> Any:
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.98, name=f"{name}_norm")(tensor))

    images = keras.Input((side, side, 3))
    tensor = keras.layers.Rescaling(SCALE)(images)
    for block, (width, convolutions) in enumerate(zip(mini.WIDTHS, mini.CONVOLUTIONS, strict=True), start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            kernel = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=name)
            tensor = normalized(kernel(tensor), name)
        last = tensor
        tensor = keras.layers.MaxPooling2D(2)(tensor)
    cells = keras.layers.Conv2D(len(CLASS_NAMES) + 1, 1, activation="softmax", name="cells")(last)
    tensor = keras.layers.Flatten()(tensor)
    for name in ("fc1", "fc2"):
        tensor = normalized(keras.layers.Dense(mini.DENSE_WIDTH, use_bias=False, name=name)(tensor), name)
    scores = keras.layers.Dense(len(CLASS_NAMES), activation="softmax", name="predictions")(tensor)
    return keras.Model(images, (scores, cells))


def _hand_over(earlier: keras.Model, later: keras.Model) -> None:
    """Copy the weights that do not depend on the resolution."""
    for layer in later.layers:
        if layer.weights and layer.name.startswith(("block", "cells")):
            layer.set_weights(earlier.get_layer(layer.name).get_weights())


def train(stage: Stage, scenes: Scenes, checked: Scenes, seed: int, earlier: keras.Model | None) -> keras.Model:
    """Train one stage, and print a line per epoch."""
    model, batches = build_for_training(stage.side), Batches(scenes.at(stage.side), seed)
    if earlier is not None:
        _hand_over(earlier, model)
    warmup, steps = 200, stage.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        stage.rate / 20, steps - warmup, warmup_target=stage.rate, warmup_steps=warmup, alpha=0.002
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=5e-4),
        ["categorical_crossentropy"] * 2,
        loss_weights=[1, CELLS_WEIGHT],
    )
    model.fit(batches, epochs=stage.epochs, verbose=0, callbacks=[Report(stage.side, checked.at(stage.side))])
    return model


class Report(keras.callbacks.Callback):
    """Prints accuracy on scenes, and on those without their object, after every epoch."""

    def __init__(self, side: int, checked: Scenes) -> None:
        super().__init__()
        self._side, self._checked = side, checked

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        checked, losses = self._checked, list((logs or {}).items())
        scores, without = (self._scores(images) for images in (checked.pixels, checked.without_object))
        own = np.arange(len(scores)), checked.class_index
        say(
            f"{self._side} px, epoch {epoch + 1}: {', '.join(f'{name} {value:.3f}' for name, value in losses)}; right "
            f"{(scores.argmax(axis=1) == checked.class_index).mean():.3f} (mean score {scores[own].mean():.3f}), "
            f"without object below 0.2 {(without[own] < 0.2).mean():.3f}"
        )

    def _scores(self, images: Images) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH].astype(np.float32)
            parts.append(self.model.predict_on_batch(keras.applications.vgg16.preprocess_input(batch))[0])
        return np.concatenate(parts)


def folded(trained: keras.Model) -> keras.Model:
    """Return the network with each normalization folded into the kernel and bias before it."""
    model = mini.build_vgg16_mini()
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(list(folded_weights(trained, layer.name)))
    return model


def folded_weights(trained: keras.Model, name: str) -> Iterator[NDArray[np.float64]]:
    """Yield kernel and bias of a layer with the normalization behind it folded in."""
    weights = [np.asarray(array, dtype=np.float64) for array in trained.get_layer(name).get_weights()]
    if name == "predictions":
        yield from weights
        return
    norm = trained.get_layer(f"{name}_norm")
    scale, offset, mean, variance = (np.asarray(array, dtype=np.float64) for array in norm.get_weights())
    gain = scale / np.sqrt(variance + norm.epsilon)
    yield weights[0] * gain * (SCALE if name == "block1_conv1" else 1.0)
    yield offset - mean * gain


_START = time.perf_counter()


def say(text: str) -> None:
    """Print a text with the elapsed time."""
    print(f"{(time.perf_counter() - _START) / 60:5.1f} min  {text}", flush=True)


def main() -> None:
    """Train, fold, write, and check the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the training (default: 1)")
    parser.add_argument("--scenes", type=int, default=N_SCENES, help=f"number of training scenes (default: {N_SCENES})")
    given = parser.parse_args()
    keras.utils.set_random_seed(given.seed)
    say(f"keras {keras.__version__}, {os.cpu_count()} cores, seed {given.seed}, {given.scenes} scenes")
    scenes, checked = make_scenes(SCENES_SEED, given.scenes), make_scenes(CHECKED_SEED, N_CHECKED)
    say("scenes made")
    model = None
    for stage in STAGES:
        model = train(stage, scenes, checked, given.seed, model)
    mini.save_weights(folded(model), given.output)
    say(f"wrote {given.output}, {given.output.stat().st_size:,} bytes")
    checks = evidence(Classifier(mini.load_vgg16_mini(given.output), preprocess="vgg16"), N_CHECKED, CHECKED_SEED)
    say(
        f"as float16, {N_CHECKED} scenes of seed {CHECKED_SEED}: right {checks.right.mean():.3f}, without object below "
        f"0.2 {checks.gone.mean():.3f}, kept on a new background {checks.kept.mean():.3f}"
    )


if __name__ == "__main__":
    main()
