"""Checks that a model's evidence is the object: three figures on scenes, by interventions with a known effect.

``python training/scene_checks.py`` prints them for ``vgg16-mini``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.scenes.scenes import CLASS_NAMES, make_scene
from evalkit.models.classifier import Classifier

__all__ = ["GONE", "Evidence", "evidence"]

GONE = 0.2  # below this score a class counts as not recognized; chance is 0.1
_CHUNK = 50

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The results of the checks, one value per scene; every array is (N,).

    Attributes:
        class_index: the object's class.
        right: True if the predicted class is the object's class.
        gone: True if the class's probability without the object is below ``GONE``.
        kept: True if the predicted class is the same on a new background with other distractors.
    """

    class_index: NDArray[np.int64]
    right: Flags
    gone: Flags
    kept: Flags

    def by_class(self, flags: Flags) -> NDArray[np.float64]:
        """Return the fraction of true flags in each class, float64 (10,); NaN for a class without a scene."""
        shares = np.full(len(CLASS_NAMES), np.nan)
        for index in np.unique(self.class_index):
            shares[index] = flags[self.class_index == index].mean()
        return shares


def evidence(classifier: Classifier, n_scenes: int, seed: int) -> Evidence:
    """Classify scenes, the same scenes without their objects, and on another background.

    Args:
        classifier: the model, with ten outputs in the order of the classes of scenes.
        n_scenes: the number of scenes, 1 or more.
        seed: the random seed of the scenes.
    """
    indices, right, gone, kept = [], [], [], []
    for start in range(0, n_scenes, _CHUNK):
        numbers = range(start, min(start + _CHUNK, n_scenes))
        originals = [make_scene(seed, number) for number in numbers]
        index = np.array([scene.class_index for scene in originals])
        predicted = classifier.probabilities(np.stack([scene.pixels for scene in originals])).argmax(axis=1)
        without = classifier.probabilities(np.stack([scene.without_object for scene in originals]))
        elsewhere = np.stack([make_scene(seed, number, background=1).pixels for number in numbers])
        indices.append(index)
        right.append(predicted == index)
        gone.append(without[np.arange(len(index)), index] < GONE)
        kept.append(classifier.probabilities(elsewhere).argmax(axis=1) == predicted)
    return Evidence(*map(np.concatenate, (indices, right, gone, kept)))


def _main() -> None:
    from rich.console import Console
    from rich.table import Table

    from evalkit.models.zoo.load import load_classifier

    parser = argparse.ArgumentParser(prog="python training/scene_checks.py", description=__doc__)
    parser.add_argument("--model", default="vgg16-mini", help="as in `evalkit run`; ten outputs (default: vgg16-mini)")
    parser.add_argument("--preprocess", help="as in `evalkit run`")
    parser.add_argument("--scenes", type=int, default=1000, help="number of scenes (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed; the training used 1000 (default: 0)")
    given = parser.parse_args()
    checks = evidence(load_classifier(given.model, preprocess=given.preprocess), given.scenes, given.seed)
    table = Table(title=f"{given.model} on {given.scenes} scenes of seed {given.seed}", title_justify="left", box=None)
    for heading in ("class", "right", f"without its object below {GONE}", "kept on a new background"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    shares = [(flags.mean(), checks.by_class(flags)) for flags in (checks.right, checks.gone, checks.kept)]
    for index, name in enumerate(CLASS_NAMES):
        table.add_row(name, *(f"{by_class[index]:.1%}" for _, by_class in shares))
    table.add_row("all", *(f"{mean:.1%}" for mean, _ in shares), style="bold")
    Console().print(table)


if __name__ == "__main__":
    _main()
