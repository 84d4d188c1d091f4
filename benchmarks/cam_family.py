"""Cost of all CAMs of a layer together, as a ratio to Grad-CAM alone: ``python benchmarks/cam_family.py [--real]``.

Both run in turns in this process on one photo; the ratio of the medians should be at most 1.3, because one pass forward
and one back serve all of them. With ``--each`` every CAM is also timed alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from timing import Ratio, machine, ratio

from evalkit.datasets.scenes.scenes import make_scene
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import EXPLAINERS, FAMILIES
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import load_classifier

TARGET = 1.3
REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "real"


def photo_for(classifier: Classifier, *, real: bool) -> np.ndarray:
    """Return one photo at the model's input size, uint8 (1, H, W, 3)."""
    if not real:
        return make_scene(0, 0).pixels[None]
    height, width = classifier.input_size
    file = min((REAL / "imagenette200").rglob("*.JPEG"))
    return np.asarray(Image.open(file).convert("RGB").resize((width, height)))[None]


def together(classifier: Classifier, photo: np.ndarray, explainers: Sequence[Explainer]) -> None:
    """Explain one photo by all explainers, as a worker of a run does."""
    layers = {layer for explainer in explainers for layer in explainer.shared_layers(classifier)}
    with classifier.sharing(layers):
        for explainer in explainers:
            explainer.explain(classifier, photo, [0])


def measured(classifier: Classifier, photo: np.ndarray, repeats: int, *, each: bool) -> list[Ratio]:
    """Return the ratio of all CAMs together to Grad-CAM alone, and of each CAM alone if wanted."""
    explainers = [EXPLAINERS.build(name) for name in FAMILIES["cams"]]
    if classifier.pooled_end() is None:  # CAM needs global average pooling and one dense layer
        explainers = [explainer for explainer in explainers if explainer.name != "cam"]
    gradcam = [EXPLAINERS.build("gradcam")]
    groups = {"all CAMs together": explainers}
    if each:
        groups |= {f"{explainer.name} alone": [explainer] for explainer in explainers}

    def ratio_of(name: str, group: Sequence[Explainer]) -> Ratio:
        before = classifier.count.forward, classifier.count.backward
        together(classifier, photo, group)
        passes = classifier.count.forward - before[0], classifier.count.backward - before[1]
        return ratio(
            f"{classifier.name}, {classifier.target_layer}",
            (name, lambda: together(classifier, photo, group)),
            ("gradcam alone", lambda: together(classifier, photo, gradcam)),
            repeats,
            f"{passes[0]} F + {passes[1]} B",
        )

    return [ratio_of(name, group) for name, group in groups.items()]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", action="store_true", help="also measure the real VGG16 of ../shared/real")
    parser.add_argument("--each", action="store_true", help="also time every CAM alone")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each way, default 15")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    models = {False: load_classifier("vgg16-mini")}
    if options.real:
        models[True] = load_classifier(str(REAL / "vgg16_imagenette_gap.keras"), preprocess="vgg16")
    found: list[Ratio] = []
    for real, loaded in models.items():
        classifier = loaded.in_precision(options.precision)
        photo = photo_for(classifier, real=real)
        found += measured(classifier, photo, options.repeats, each=options.each)
    table = Table(title=f"All CAMs of a layer together: at most {TARGET} times gradcam")
    for column in ("model, layer", "what", "passes", "ms", "gradcam alone, ms", "ratio"):
        table.add_column(column)
    for one in found:
        times = (f"{1000 * seconds:.1f}" for seconds in (one.slow_seconds, one.fast_seconds))
        table.add_row(one.what, one.slow, one.note, *times, f"{one.times:.2f}")
    Console().print(table)
    if options.json:
        figures = {"machine": machine(), "ratios": [one.as_dict() for one in found]}
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
