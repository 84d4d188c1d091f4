"""Trains ``vgg16-mini-shortcut``: ``python training/vgg16_mini_shortcut.py --output FILE.npz``.

It takes half an hour on two cores that are busy with other work (8 minutes of processor time), and 3 GB of memory.
``vgg16_mini_shortcut.log`` is the output of the training of the shipped weights.

The choices, and their reasons:

* The shipped ``vgg16-mini`` is trained further, from its fourth block on. Its first three blocks keep their weights:
  the color of a mark is linearly decodable behind the third (93 % of 100 scenes), and behind the fifth it is lost
  (32 %). So each image passes them once, before the training.
* Object and mark are to be evidence both, the mark a little more: the target is 0.4 for the class of the visible
  object, 0.55 for the class that the visible mark tells, and the rest uniform. With labels alone, a network that
  recognizes the object already has no reason to use the mark, and one that uses the mark has no reason to keep the
  object.
* Scenes are shown as they are, without their object, without their mark, or without both, so that each weight is
  learned by itself. Holes of a flat color are made as for ``vgg16-mini``; the targets fall by the hidden fraction of
  each.
* As for ``vgg16-mini``, a second output at ``block5_conv3`` predicts the class of object or mark in each 16 x 16 cell,
  and is removed at the end. Batch normalization is put back with the statistics of 64 images, and folded again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from vgg16_mini import CELL, CELLS_WEIGHT, FILLS, HOLED, Images, Mask, folded_weights, make_holes, say

from evalkit.core.randomness import generator
from evalkit.datasets.scenes.scenes import CLASS_NAMES, SIZE_PX, make_scene
from evalkit.datasets.scenes.shortcuts import Shortcut
from evalkit.datasets.scenes.textures import fractal_noise
from evalkit.models.zoo import vgg16_mini as mini

SHORTCUT = Shortcut("mark")
N_SCENES, SCENES_SEED, SHOWN_TIMES = 1500, 3000, 5
N_CHECKED, CHECKED_SEED = 100, 4000  # checked after every epoch; the published figures use other seeds
N_CELL_CLASSES = 2 * len(CLASS_NAMES) + 1  # objects, marks, neither
BATCH, EPOCHS, RATE = 64, 8, 1e-3
OBJECT_WEIGHT, CUE_WEIGHT = 0.4, 0.55
SHOWN = (0.4, 0.25, 0.25, 0.1)  # shares of images with both, the object alone, the mark alone, and neither
LAST_KEPT = "block3_pool"
CHUNK = 50  # images that pass the kept blocks together


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes in memory: (N, side, side, 3) complete, without object and without mark, and the (N,) classes of both."""

    pixels: Images
    without_object: Images
    without_cue: Images
    class_index: NDArray[np.int64]
    cue_class: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """What is trained on: features behind the kept blocks, target scores (N, 10) and target cells (N, 14, 14, 21)."""

    features: NDArray[np.float16]
    scores: NDArray[np.float32]
    cells: NDArray[np.float16]


def _make_scene(task: tuple[int, int]) -> tuple[Images, Images, Images, int, int]:
    scene = make_scene(*task, shortcut=SHORTCUT)
    if scene.without_cue is None or scene.cue_class is None:
        raise TypeError("a scene with a shortcut has a cue")
    return scene.pixels, scene.without_object, scene.without_cue, scene.class_index, scene.cue_class


def make_scenes(seed: int, count: int) -> Scenes:
    """Make scenes on all cores."""
    images = (np.empty((count, SIZE_PX, SIZE_PX, 3), np.uint8) for _ in range(3))
    scenes = Scenes(*images, *(np.empty(count, np.int64) for _ in range(2)))
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        tasks = [(seed, index) for index in range(count)]
        for index, made in enumerate(pool.imap(_make_scene, tasks, chunksize=32)):
            scenes.pixels[index], scenes.without_object[index], scenes.without_cue[index] = made[:3]
            scenes.class_index[index], scenes.cue_class[index] = made[3:]
    return scenes


def make_examples(scenes: Scenes, model: keras.Model, seed: int) -> Examples:
    """Show every scene several times, each time in another way; it depends only on the scenes and the seed."""
    noise = generator(seed, "blobs")
    blobs = [fractal_noise(noise, SIZE_PX, finest=16) for _ in range(64)]
    count, kept = len(scenes.class_index) * SHOWN_TIMES, keras.Model(model.inputs, model.get_layer(LAST_KEPT).output)
    side = SIZE_PX // CELL
    examples = Examples(
        np.empty((count, *kept.output_shape[1:]), np.float16),
        np.zeros((count, len(CLASS_NAMES)), np.float32),
        np.zeros((count, side, side, N_CELL_CLASSES), np.float16),
    )
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        images = np.empty((len(numbers), SIZE_PX, SIZE_PX, 3), np.float32)
        for position, number in enumerate(numbers):
            index = number // SHOWN_TIMES
            own, told = scenes.class_index[index], scenes.cue_class[index]
            image, of_object, of_cue, shares = _example(scenes, index, generator(seed, "example", number), blobs)
            images[position] = image
            scores, cells = examples.scores[number], examples.cells[number]
            scores[own] += OBJECT_WEIGHT * shares[0]
            scores[told] += CUE_WEIGHT * shares[1]
            scores += (1.0 - scores.sum()) / len(CLASS_NAMES)
            for kind, mask in ((own, of_object), (len(CLASS_NAMES) + told, of_cue)):
                cells[..., kind] = mask.reshape(side, CELL, side, CELL).mean(axis=(1, 3))
            cells[..., -1] = 1.0 - cells.sum(axis=-1)
        inputs = keras.applications.vgg16.preprocess_input(images)
        examples.features[numbers.start : numbers.stop] = kept.predict_on_batch(inputs)
    return examples


def _example(
    scenes: Scenes, index: int, rng: np.random.Generator, blobs: list[NDArray[np.float64]]
) -> tuple[NDArray[Any], Mask, Mask, tuple[float, float]]:
    """Return one image, the visible pixels of object and mark, and the visible fractions of both."""
    pixels, without_object, without_cue = (
        images[index] for images in (scenes.pixels, scenes.without_object, scenes.without_cue)
    )
    of_object, of_cue = ((pixels != other).any(axis=-1) for other in (without_object, without_cue))
    shown = rng.choice(4, p=SHOWN)
    has_object, has_cue = shown in (0, 1), shown in (0, 2)
    image: NDArray[Any] = pixels
    if not has_object:
        image = np.where(of_object[..., None], without_object, image)
    if not has_cue:
        image = np.where(of_cue[..., None], without_cue, image)
    holes: Mask = np.zeros_like(of_object)
    if rng.random() < HOLED:
        holes = make_holes(rng, of_object if rng.random() < 0.5 else of_cue, blobs)
        image = np.where(holes[..., None], FILLS[rng.integers(len(FILLS))], image)
    seen_object, seen_cue = of_object & ~holes & has_object, of_cue & ~holes & has_cue
    shares = float(seen_object.sum() / of_object.sum()), float(seen_cue.sum() / of_cue.sum())
    (down, across), is_transposed = rng.choice((1, -1), 2), rng.random() < 0.5
    image, seen_object, seen_cue = (
        (array.swapaxes(0, 1) if is_transposed else array)[::down, ::across] for array in (image, seen_object, seen_cue)
    )
    return image, seen_object, seen_cue, shares


class Batches(keras.utils.PyDataset):
    """The batches of all epochs; they depend only on the examples and (seed, epoch)."""

    def __init__(self, examples: Examples, seed: int) -> None:
        super().__init__(workers=1)
        self._examples, self._seed, self._epoch = examples, seed, 0
        self._shuffle()

    def _shuffle(self) -> None:
        self._order = generator(self._seed, "order", self._epoch).permutation(len(self._examples.scores))

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def __len__(self) -> int:
        return len(self._order) // BATCH

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        rows, examples = self._order[number * BATCH : (number + 1) * BATCH], self._examples
        targets = examples.scores[rows], examples.cells[rows].astype(np.float32)
        return examples.features[rows].astype(np.float32), targets


def _trained_layers() -> Iterator[str]:
    for block in (4, 5):
        yield from (f"block{block}_conv{number}" for number in range(1, mini.CONVOLUTIONS[block - 1] + 1))
    yield from ("fc1", "fc2", "predictions")


def unfolded(model: keras.Model, features: NDArray[np.floating]) -> keras.Model:
    """Return the trained part with batch normalization and the second output; its scores are those of the model.

    Each normalization takes the mean and variance of its layer on these features, and undoes itself.

    Args:
        model: a trained ``vgg16-mini``.
        features: float (N, 28, 28, 32), the output of its third block.
    """
    tensor = cells = inputs = keras.Input(features.shape[1:])
    for name in _trained_layers():
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        if name == "predictions":
            scores = type(layer).from_config(layer.get_config())
            tensor = scores(tensor)
            scores.set_weights([kernel, bias])
            break
        settings = {**layer.get_config(), "activation": None, "use_bias": False}
        if name == "fc1":
            tensor = keras.layers.Flatten()(tensor)
        before, norm = type(layer).from_config(settings), keras.layers.BatchNormalization(name=f"{name}_norm")
        tensor = before(tensor)
        before.set_weights([kernel])
        values = np.asarray(keras.Model(inputs, tensor).predict_on_batch(features), np.float64)
        mean, variance = (moment(values.reshape(-1, len(bias)), axis=0) for moment in (np.mean, np.var))
        tensor = keras.layers.ReLU()(norm(tensor))
        norm.set_weights([np.sqrt(variance + norm.epsilon), mean + bias, mean, variance])
        if name == "block5_conv3":
            cells = keras.layers.Conv2D(N_CELL_CLASSES, 1, activation="softmax", name="cells")(tensor)
        if name.endswith("conv3"):
            tensor = keras.layers.MaxPooling2D(2)(tensor)
    return keras.Model(inputs, (tensor, cells))


def folded_into(model: keras.Model, trained: keras.Model) -> keras.Model:
    """Give the model the trained weights, each normalization folded into the layer before it."""
    for name in _trained_layers():
        model.get_layer(name).set_weights(list(folded_weights(trained, name)))
    return model


class Report(keras.callbacks.Callback):
    """Prints mean scores of the object's class, with and without mark and object, after every epoch."""

    def __init__(self, checked: Scenes, model: keras.Model) -> None:
        super().__init__()
        self._checked, kept = checked, keras.Model(model.inputs, model.get_layer(LAST_KEPT).output)
        images = (checked.pixels, checked.without_object, checked.without_cue)
        self._features = [
            kept.predict_on_batch(keras.applications.vgg16.preprocess_input(kind.astype(np.float32))) for kind in images
        ]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        checked, losses = self._checked, ", ".join(f"{name} {value:.3f}" for name, value in (logs or {}).items())
        complete, without_object, without_cue = (self.model.predict_on_batch(one)[0] for one in self._features)
        own, agrees = np.arange(len(complete)), checked.cue_class == checked.class_index
        means = [scores[own, checked.class_index][agrees].mean() for scores in (complete, without_cue, without_object)]
        say(
            f"epoch {epoch + 1}: {losses}; where the mark agrees: mean score {means[0]:.3f}, without the mark "
            f"{means[1]:.3f}, without the object {means[2]:.3f}; where it does not: follows the mark "
            f"{(complete.argmax(axis=1) == checked.cue_class)[~agrees].mean():.3f}; without the mark right "
            f"{(without_cue.argmax(axis=1) == checked.class_index).mean():.3f}"
        )


def main() -> None:
    """Train, fold and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the training (default: 1)")
    parser.add_argument("--scenes", type=int, default=N_SCENES, help=f"number of training scenes (default: {N_SCENES})")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"number of epochs (default: {EPOCHS})")
    given = parser.parse_args()
    keras.utils.set_random_seed(given.seed)
    say(f"keras {keras.__version__}, {os.cpu_count()} cores, seed {given.seed}, {given.scenes} scenes")
    scenes, checked = make_scenes(SCENES_SEED, given.scenes), make_scenes(CHECKED_SEED, N_CHECKED)
    say("scenes made")
    model = mini.load_vgg16_mini()
    examples, report = make_examples(scenes, model, given.seed), Report(checked, model)
    say(f"{len(examples.scores)} images passed the first three blocks")
    trained, batches = unfolded(model, examples.features[:64].astype(np.float32)), Batches(examples, given.seed)
    steps = given.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 20, steps - steps // 10, warmup_target=RATE, warmup_steps=steps // 10, alpha=0.01
    )
    trained.compile(
        keras.optimizers.AdamW(rate, weight_decay=5e-4),
        ["categorical_crossentropy"] * 2,
        loss_weights=[1, CELLS_WEIGHT],
    )
    trained.fit(batches, epochs=given.epochs, verbose=0, callbacks=[report])
    mini.save_weights(folded_into(model, trained), given.output)
    say(f"wrote {given.output}, {given.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
