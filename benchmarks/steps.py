"""How far the areas of few steps are from those of many: ``python benchmarks/steps.py --model M --data D --limit 12``.

Each curve is followed once, at 224 cuts; those of 8, 14, 28, 56 and 112 steps are subsets, since these divide 224.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evalkit.core.settings import merge
from evalkit.datasets.geometry import fit
from evalkit.harness.planning.prepare import prepare
from evalkit.metrics.levels import cuts, level_ranks
from evalkit.metrics.perturbation import area_under_curve, perturbation
from evalkit.models.inference.perturbation import PhotoScores

FINEST, STEPS = 224, (8, 14, 28, 56, 112)
CURVES = {"deletion": ("image", "mean"), "insertion": ("blur", "image"), "insertion, mean color": ("mean", "image")}


def errors(scores: NDArray[np.float64], at: NDArray[np.int64], boundaries: NDArray[np.int64]) -> dict[int, float]:
    """Return the area of each number of steps less that of 224."""
    areas = {}
    for steps in (*STEPS, FINEST):
        chosen = cuts(boundaries, steps)
        place = np.searchsorted(at, chosen)
        areas[steps] = area_under_curve(chosen / boundaries[-1], scores[place])
    return {steps: areas[steps] - areas[FINEST] for steps in STEPS}


def main() -> None:
    """Follow the curves and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--model", "--preprocess", "--data", "--class-names"):
        parser.add_argument(option)
    parser.add_argument("--limit", type=int, default=12, help="photos (default: 12)")
    parser.add_argument("--explainers", default="gradcam,occlusion(patch_size=32, stride=16)")
    given = parser.parse_args()
    plan = prepare(merge(vars(given)), print)
    found: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in CURVES}
    for entry in plan.images.entries:
        image = fit(plan.images.read(entry), plan.classifier.input_size, plan.geometry)
        clean = plan.classifier.probabilities(image.pixels[None])[0]
        engine = PhotoScores(plan.classifier, image.pixels, int(clean.argmax()), float(clean.max()))
        for explainer in plan.explainers:
            made = explainer.explain(plan.classifier, image.pixels[None], [int(clean.argmax())])[0].astype(np.float32)
            followed = [perturbation(made, start, end, FINEST, "levels") for start, end in CURVES.values()]
            for name, one, scores in zip(CURVES, followed, engine.scores(followed), strict=True):
                for steps, error in errors(scores, one.cuts, level_ranks(made)[1]).items():
                    found[name][steps].append(error)
    table = Table(title=f"error of the area against {FINEST} steps, {len(plan.images)} photos", box=None)
    for heading in ("curve", "steps", "mean", "mean size", "95 % of curves within", "largest"):
        table.add_column(heading, justify="left" if heading == "curve" else "right")
    for name, by_steps in found.items():
        for steps, values in by_steps.items():
            size = np.abs(values)
            numbers = (np.mean(values), size.mean(), np.quantile(size, 0.95), size.max())
            table.add_row(name, str(steps), *(f"{number:.4f}" for number in numbers))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
