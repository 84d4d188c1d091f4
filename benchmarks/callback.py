"""What ``ExplanationQuality`` costs: ``python benchmarks/callback.py``.

Trains a new last layer on vgg16-mini on scenes, without and with the callback, and prints the seconds of each epoch, of
each scoring, and, in turns, of further scorings and of as many bare passes of the same model in the same batches. The
data set is a ``tf.data`` one without autotuning, which delays epochs (docs/training.md); ``--autotune`` has it.
"""

from __future__ import annotations

import argparse
import os
from statistics import median
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from evalkit.datasets.scenes.scenes import scenes
from evalkit.integrations.keras import ExplanationQuality
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.vgg16_mini import load_vgg16_mini


class Times(keras.callbacks.Callback):  # type: ignore[misc]
    """The seconds of the batches of each epoch, without what callbacks do at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.waits: list[float] = []  # from the beginning of an epoch to its first batch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
        self._start = perf_counter(), process_time()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
        if batch == 0:
            self.waits.append(perf_counter() - self._start[0])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
        self._end = perf_counter(), process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
        self.seconds.append(self._end[0] - self._start[0])
        self.cpu.append(self._end[1] - self._start[1])


def model_to_train() -> keras.Model:
    """Return vgg16-mini with a new last layer; the others are frozen."""
    keras.utils.set_random_seed(0)
    mini = load_vgg16_mini()
    mini.trainable = False
    outputs = keras.layers.Dense(10, activation="softmax")(mini.layers[-2].output)
    model = keras.Model(mini.inputs, outputs)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    return model


def main() -> None:
    """Train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96, help="images to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--limit", type=int, default=8, help="images to score")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison with bare passes")
    parser.add_argument("--autotune", action="store_true", help="let tf.data tune itself, as it does by default")
    given = parser.parse_args()
    train = list(scenes(given.images))
    pixels, labels = np.stack([image.pixels for image in train]), np.array([image.class_index for image in train])

    dataset, options = tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(16).prefetch(2), tf.data.Options()
    options.autotune.enabled = given.autotune
    dataset = dataset.with_options(options)

    def epochs(*callbacks: keras.callbacks.Callback) -> Times:
        times = Times()
        model_to_train().fit(dataset, epochs=given.epochs, verbose=0, callbacks=[times, *callbacks])
        return times

    quality = ExplanationQuality(
        scenes(100, seed=1), limit=given.limit, steps=given.steps, preprocess="vgg16", target="predicted", verbose=0
    )
    without, with_it = epochs(), epochs(quality)
    scored = [row.quality.seconds for row in quality.results]
    print(f"epochs without the callback: {_listed(without.seconds)} s ({_listed(without.cpu)} CPU)")
    print(f"epochs with it, scoring not counted: {_listed(with_it.seconds)} s ({_listed(with_it.cpu)} CPU)")
    print(f"waits for the first batch of an epoch: {_listed(with_it.waits)} s")
    ratio = median(with_it.cpu[1:]) / median(without.cpu[1:])
    print(f"an epoch after the first takes {ratio:.3f} times the CPU time of one without it")
    print(f"scoring after each epoch: {_listed(scored)} s (the first plans and compiles)")
    compare(model_to_train(), quality, given.rounds)


def compare(model: keras.Model, quality: ExplanationQuality, rounds: int) -> None:
    """Print the time of scoring, and of as many bare passes, in turns."""
    classifier = Classifier(model, preprocess="vgg16")
    batch = np.zeros((classifier.batch_size, *classifier.input_size, 3), np.float32)
    quality.set_model(model)
    quality.on_epoch_end(0, {})  # plans and compiles
    classifier.source.outputs(batch)
    ratios, cpu_ratios = [], []
    for number in range(1, rounds + 1):
        start, cpu = perf_counter(), process_time()
        quality.on_epoch_end(number, {})
        scoring, scoring_cpu = perf_counter() - start, process_time() - cpu
        cost = quality.results[-1].quality
        count = cost.forward_passes + 2 * cost.backward_passes  # a backward pass is about two forward ones
        start, cpu = perf_counter(), process_time()
        for first in range(0, count, classifier.batch_size):
            classifier.source.outputs(batch[: count - first])
        bare, bare_cpu = perf_counter() - start, process_time() - cpu
        ratios.append(scoring / bare)
        cpu_ratios.append(scoring_cpu / bare_cpu)
        print(
            f"{count} passes: scoring {scoring:.2f} s ({scoring_cpu:.2f} CPU), bare {bare:.2f} s ({bare_cpu:.2f} CPU)"
        )
    print(
        f"scoring takes {median(ratios):.3f} times as long as bare passes, {median(cpu_ratios):.3f} times the CPU time"
    )


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds)


if __name__ == "__main__":
    main()
