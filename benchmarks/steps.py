"""Errors of curve areas with few steps: ``python benchmarks/steps.py --model M --data D --limit 12``.

Each curve is computed once, at 224 cuts; the cuts of 8, 14, 28, 56 and 112 steps are subsets, because these divide 224.
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


def errors(scores: NDArray[np.float64], computed: NDArray[np.int64], boundaries: NDArray[np.int64]) -> dict[int, float]:
    """Return the area with each number of steps minus that with 224."""
    areas = {}
    for steps in (*STEPS, FINEST):
        chosen = cuts(boundaries, steps)
        indices = np.searchsorted(computed, chosen)
        areas[steps] = area_under_curve(chosen / boundaries[-1], scores[indices])
    return {steps: areas[steps] - areas[FINEST] for steps in STEPS}


def main() -> None:
    """Compute the curves and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--model", "--preprocess", "--data", "--class-names"):
        parser.add_argument(option)
    parser.add_argument("--limit", type=int, default=12, help="photos (default: 12)")
    parser.add_argument("--explainers", default="gradcam,occlusion(patch_size=32, stride=16)")
    given = parser.parse_args()
    plan = prepare(merge(vars(given)), print)
    by_curve: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in CURVES}
    for entry in plan.images.entries:
        image = fit(plan.images.read(entry), plan.classifier.input_size, plan.geometry)
        clean = plan.classifier.logits(image.pixels[None])[0]
        engine = PhotoScores(plan.classifier, image.pixels, int(clean.argmax()), clean)
        for explainer in plan.explainers:
            (values,) = explainer.explain(plan.classifier, image.pixels[None], [int(clean.argmax())])
            saliency_map = values.astype(np.float32)
            curves = [perturbation(saliency_map, start, end, FINEST, "levels") for start, end in CURVES.values()]
            for name, curve, scores in zip(CURVES, curves, engine.scores(curves), strict=True):
                for steps, error in errors(scores, curve.cuts, level_ranks(saliency_map)[1]).items():
                    by_curve[name][steps].append(error)
    table = Table(title=f"error of the area against {FINEST} steps, {len(plan.images)} photos", box=None)
    for heading in ("curve", "steps", "mean", "mean size", "95 % of curves within", "largest"):
        table.add_column(heading, justify="left" if heading == "curve" else "right")
    for name, by_steps in by_curve.items():
        for steps, values in by_steps.items():
            size = np.abs(values)
            numbers = (np.mean(values), size.mean(), np.quantile(size, 0.95), size.max())
            table.add_row(name, str(steps), *(f"{number:.4f}" for number in numbers))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
